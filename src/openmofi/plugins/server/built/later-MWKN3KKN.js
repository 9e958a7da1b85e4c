import{$ as vt,A as Y,C as R,D as st,E as Pt,H as Ce,J as de,K as P,L as q,N as j,O as H,P as K,Q as Nt,R as V,S as mt,T as _t,U as lt,V as Dt,W as It,X as $t,Y as Oe,Z as it,_ as Te,aa as Ft,b as v,ba as xt,c as A,ca as jt,d as Ee,da as nt,e as U,ea as Re,f as ue,fa as Bt,ga as pe,h as i,ha as Ut,ia as ft,j as dt,ja as ot,k as wt,ka as Wt,l as o,la as At,m as Se,ma as Le,na as ht,oa as Kt,p as T,pa as Pe,q as Me,r as rt,ra as Ht,sa as Ne,ta as _e,u as pt,v as Ae,y as at,z as kt}from"./chunk-Q2Q2DC7Y.js";async function Gt(t){let{default:e}=await import("./photoswipe.esm-5BWHUGVW.js"),{width:n,height:r}=t.width?t:{width:1600,height:1200};new e({dataSource:[{src:rt(t.id),msrc:Me(t),width:n,height:r,alt:lt(t)}],appendToEl:document.querySelector("dialog[open]")??document.body,showHideAnimationType:"none",bgOpacity:.94,zoom:!0,arrowKeys:!1,maxZoomLevel:8,closeTitle:o("close"),zoomTitle:o("closely.zoom"),errorMsg:o("closely.failed")}).init()}var dn=3,De={below_threshold:"why.threshold",sibling_preferred:"why.sibling",beyond_top_k:"why.beyond"};function pn(t,e,n){let r=new Map(t.labels.map(a=>[a.entity,{...a,candidate:null}]));for(let a of e?.candidates??[]){let l=r.get(a.entity)??{...a,candidate:null};r.set(a.entity,{...l,candidate:l.candidate??a})}for(let[a,l]of n)r.has(a)||r.set(a,{entity:a,name:pt.value[a]??a,probability:null,by:l.who});let s=a=>a.accepted||a.probability===null?1:0;return[...r.values()].sort((a,l)=>s(l)-s(a)||(l.probability??0)-(a.probability??0))}function mn(t,e){let{prior:n,link_score:r,image_score:s,reason:a}=t,l=e.mentions[t.mention],c=[n!==null&&o("why.prior",{share:V(n)}),r!==null&&r>=0&&r<=1&&o("why.link",{share:V(r)})].filter(Boolean).join(", "),p=e.candidates.filter($=>$.image_score!==null),d=p.filter($=>$.mention===t.mention),u=d.length>1?d:p,m=u.reduce(($,y)=>y.image_score>$.image_score?y:$,t),b=s!==null&&u.length>1&&(m.entity===t.entity?o("why.closest",{count:u.length}):o("why.closer",{name:m.name}));return[l&&`${o("why.quoted",{text:l.surface})}${l.kind?` (${l.kind})`:""} ${c}`.trim(),b,Object.hasOwn(De,a)&&o(De[a])].filter(Boolean).join("; ")}function Ie({image:t,reading:e,verdicts:n}){let[r,s]=v(!1),[a,l]=v(!1),c=pn(t,e,n.said),p=c.filter((u,m)=>r||m<dn||u.accepted||n.said.has(u.entity));A(()=>{n.said.forEach((u,m)=>{c.some(b=>b.entity===m&&b.candidate)||kt(m)})},[n.said]);let d=u=>{l(!1),at([u]),n.give(u,"y",!1)};return i`<section aria-label=${o("labels.title")}><h3>${o("labels.title")}</h3>
    ${n.error&&i`<${j} error=${n.error} />`}
    <ul class="label-list">${p.map(u=>i`<li key=${u.entity} class=${u.accepted||u.probability===null?"":"candidate"}>
      <div class="recognised"><a href=${R(["entity",u.entity])} title=${u.description}>${u.name}</a>
        ${u.probability===null?i`<span class="faint">${u.by?o("labels.saidBy",{name:u.by}):o("labels.saidByPerson")}</span>`:i`<${ft} value=${u.probability} />`}
        <${Bt} entity=${{id:u.entity,name:u.name}} verdicts=${n} /></div>
      ${u.candidate&&i`<p class="faint">${mn(u.candidate,e)}</p>`}</li>`)}</ul>
    ${!c.length&&i`<p class="faint">${o("labels.none")}</p>`}
    <p class="actions">
      ${c.length>p.length&&i`<button class="link" onClick=${()=>s(!0)}>${o("labels.more",{count:c.length-p.length})}</button>`}
      ${!a&&i`<button class="button small" onClick=${()=>l(!0)}><${P} name="plus" />${o("labels.add")}</button>`}</p>
    ${a&&i`<${jt} label=${o("labels.also")} placeholder=${o("entityName")} focused onEntity=${d} />`}
  </section>`}function Et({src:t,alt:e,width:n=0,height:r=0,children:s}){let[a,l]=v(r?n/r:0),[c,p]=v(!1);return c?i`<p class="faint">${o("large.gone")}</p>`:i`<div class="large" style=${a?{"--ratio":String(a)}:{}}>
    <img src=${t} alt=${e} draggable=${!1} onError=${()=>p(!0)}
      onLoad=${d=>l(d.currentTarget.naturalWidth/d.currentTarget.naturalHeight)} />
    ${s}
  </div>`}var qt=.01;function Vt({image:t,upload:e,region:n,verdicts:r}){let[s,a]=v(null),[l,c]=v(null),[p,d]=v(0),[u,m]=v(!1);if(A(()=>{let y=!0;return a(null),c(null),(t===void 0?T.recogniseUpload(e,n):T.recogniseImage(t,n)).then(h=>y&&a(h),h=>y&&c(h)),()=>{y=!1}},[t,e,n?.join(),p]),l)return i`<${j} error=${l} retry=${()=>d(p+1)} />`;if(!s)return i`<${K} what=${o("wait.recognising")} />`;let b=s.entities.filter(({probability:y},h)=>u||!h||(y??1)>=qt),$=s.entities.length-b.length;return i`<section class="recognition" aria-label=${o("recognition.title")}>
    ${s.note&&i`<p class="note">${s.note}</p>`}
    ${s.uncalibrated&&i`<p class="faint why">${s.uncalibrated}</p>`}
    <ol>${b.map(y=>i`<li key=${y.entity.id}>
      <div class="recognised">
        <a href=${R(["entity",y.entity.id])}>${y.entity.name}</a>
        <${ft} value=${y.probability} />
        ${r&&i`<${Bt} entity=${y.entity} verdicts=${r} />`}
      </div>
      ${y.entity.description&&i`<p class="faint">${y.entity.description}</p>`}
      ${y.evidence.length>0&&i`<div class="evidence" role="group" aria-label=${o("recognition.near",{name:y.entity.name})}>
        ${y.evidence.map(([h])=>i`<span key=${h.id} class="small-image">
          <${ot} image=${h} /></span>`)}</div>`}
      ${y.siblings.length>0&&i`<p class="faint">${o("recognition.or",{names:y.siblings.map((h,f)=>i`${f?", ":""}
        <a href=${R(["entity",h.id])} title=${h.description}>${h.name}</a>`)})}</p>`}
    </li>`)}</ol>
    ${$>0&&i`<p><button class="link" onClick=${()=>m(!0)}>${o("recognition.fewer",{count:$,share:V(qt)})}</button></p>`}
    ${s.unnamed!==null&&i`<div class="recognised none">
      <span>${o("recognition.none")}</span>
      <${ft} value=${s.unnamed} />
    </div>`}
  </section>`}var zt=.02,Yt=.04,ct=(t,e,n)=>Math.min(n,Math.max(e,t)),Fe=t=>ct(Number(t.toFixed(4)),0,1),je=([t,e,n,r])=>o("region.where",{left:V(t),right:V(n),top:V(e),bottom:V(r)});function Xt({region:t,onRegion:e,onDone:n}){let r=U(null),s=U(null),[a,l,c,p]=t??[.25,.25,.75,.75],d=$=>{let y=r.current.getBoundingClientRect();return[ct(($.clientX-y.left)/y.width,0,1),ct(($.clientY-y.top)/y.height,0,1)]},u=$=>{if(!s.current)return;let[y,h]=d($),[f,w]=s.current,k=[Math.min(y,f),Math.min(h,w),Math.max(y,f),Math.max(h,w)];k[2]-k[0]>=Yt&&k[3]-k[1]>=Yt&&e(k.map(Fe))},m=$=>{let[y,h]={ArrowLeft:[-zt,0],ArrowRight:[zt,0],ArrowUp:[0,-zt],ArrowDown:[0,zt]}[$.key]??[];if($.key==="Enter"&&($.preventDefault(),n([a,l,c,p])),y===void 0)return;$.preventDefault();let f=$.shiftKey?[a,l,ct(c+y,a+Yt,1),ct(p+h,l+Yt,1)]:[a+ct(y,-a,1-c),l+ct(h,-l,1-p),c+ct(y,-a,1-c),p+ct(h,-l,1-p)];e(f.map(Fe)),q(je(f))},b=()=>{s.current=null};return i`<div class="region-frame" ref=${r}
      onPointerDown=${$=>{$.preventDefault(),$.currentTarget.setPointerCapture($.pointerId),s.current=d($)}}
      onPointerMove=${u} onPointerUp=${b} onPointerCancel=${b}>
    <div class="region" role="application" tabindex="0" aria-roledescription=${o("region.role")}
      aria-label=${o("region.name",{where:je([a,l,c,p])})}
      onKeyDown=${m}
      style=${{left:`${a*100}%`,top:`${l*100}%`,width:`${(c-a)*100}%`,height:`${(p-l)*100}%`}} />
  </div>`}var Qt=t=>t?.image??t;function $n(t,e){for(let n=0;n<t.total;n+=1)if(Qt(t.at(n))?.id===e)return n;return-1}function fn(t,e){let n=pe.value?.list,r=U({id:0,place:-1}),[s,a]=v(-1);n&&(r.current.id!==t||r.current.place<0)&&(r.current={id:t,place:$n(n,t)});let{place:l}=r.current,c=n&&l>=0?[l-1,l+1].filter(m=>m>=0&&m<n.total):[],p=c.map(m=>Qt(n.at(m))?.id).join();A(()=>{c.some(m=>!n.at(m))&&n.look(Math.max(0,l-1),l+2);for(let m of c)n.at(m)&&(new Image().src=rt(Qt(n.at(m)).id))},[l,p]);let d=s>=0&&Qt(n?.at(s));return A(()=>{d&&(r.current={id:d.id,place:s},a(-1),e(d))},[d]),{step:m=>{c.includes(l+m)&&a(l+m)},place:l,total:n?.total??0,can:m=>c.includes(l+m)}}function Ct({id:t,known:e,onClose:n,onSearch:r,onStep:s}){let[a,l]=v({id:0}),[c,p]=v(!1),{step:d,place:u,total:m,can:b}=fn(t,s),$=U(u),y=U(-1),h=e??(a.id===t?a.image:null),f=a.id===t?a.error:null;A(()=>{e||T.image(t).then(g=>l({id:t,image:g}),g=>l({id:t,error:g}))},[t]),$t(g=>{if(document.querySelector(".pswp"))return!1;if(g.key==="?")p(!c);else if(g.key==="ArrowLeft"||g.key==="ArrowRight")d(g.key==="ArrowLeft"?-1:1);else return!1;return!0},{inDialog:!0});let w=()=>{y.current=u>=0&&u!==$.current?u:-1,n()};A(()=>()=>{y.current>=0&&setTimeout(()=>pe.value?.move(y.current))},[]);let k=(g,S,_)=>i`<button class="round" aria-label=${S} title=${S} disabled=${!b(g)}
    onClick=${()=>d(g)}><${P} name=${_} /></button>`,C=i`<div class="steps">
    ${u>=0&&i`${k(-1,o("detail.previous"),"left")}
      <span class="figure" role="status">${o("detail.place",{place:u+1,total:m})}</span>${k(1,o("detail.next"),"right")}`}
    <button class="round wide-only" aria-label=${o("detail.keys")} title=${o("detail.keys")} aria-expanded=${c} onClick=${()=>p(!c)}><${P} name="keys" /></button></div>`;return i`<${Nt} title=${h?lt(h):o("detail.image")} kind="wide" tools=${C} onClose=${w}>
    ${c&&i`<p class="keys">${o("detail.keysHelp",{left:i`<kbd>←</kbd>`,right:i`<kbd>→</kbd>`,tab:i`<kbd>Tab</kbd>`,help:i`<kbd>?</kbd>`,escape:i`<kbd>Esc</kbd>`})}</p>`}
    ${f?i`<${j} error=${f} />`:h?i`<${hn} key=${t} image=${h} onSearch=${r} />`:i`<${K} />`}
  <//>`}function hn({image:t,onSearch:e}){let{id:n}=t,[r,s]=v(!1),[a,l]=v(null),[c,p]=v(!1),[d,u]=v(null),m=Re(t);A(()=>{let y=!0;return T.reading(n).then(h=>y&&u(h),()=>{}),()=>{y=!1}},[]);let b=r?a??[.25,.25,.75,.75]:null,$=()=>e({image:n,weight:1,region:b});return i`<div class="detail">
    <div class="stage">
      <${Et} src=${rt(n)} alt=${lt(t)} width=${t.width} height=${t.height}>
        ${r&&i`<${Xt} region=${a} onRegion=${l} onDone=${$} />`}<//>
    </div>
    <div class="about">
      <div class="actions">
        <button class="button main" onClick=${$}><${P} name="search" />
          ${r?o("region.search"):o("detail.like")}</button>
        <button class="button" onClick=${()=>s(!r)}>
          <${P} name="crop" />${r?o("region.whole"):o("region.select")}</button>
        <button class="button" onClick=${()=>Gt(t)}><${P} name="closer" />${o("detail.closely")}</button>
        <button class="button" aria-pressed=${c} onClick=${()=>p(!c)}>
          <${P} name="tag" />${o("detail.recognise")}</button>
        <a class="button" href=${rt(n)} download><${P} name="download" />${o("detail.download")}</a>
      </div>
      ${r&&i`<p class="faint">${o("region.help")}</p>`}
      ${c&&i`<${Vt} image=${n} region=${b} verdicts=${m} />`}
      <${Ie} image=${t} reading=${d} verdicts=${m} />
      ${t.text.trim()&&i`<${yn} image=${t} reading=${d} />`}
      <${gn} image=${t} />
    </div>
  </div>`}function yn({image:t,reading:e}){let n=new Set(e?.candidates.filter(({accepted:c})=>c).map(({mention:c})=>c)),r=e?.text===t.text?e.mentions:[],s=r.length?It(t.text,r.map(({start:c,end:p},d)=>({start:c,end:p,kind:String(d)}))):Dt(t.text,t.labels.filter(({accepted:c})=>c).map(({name:c})=>c)),a=({text:c,mark:p})=>{let{kind:d="",detector:u="",reason:m=""}=r[p]??{};return p?i`<mark class=${!r.length||n.has(Number(p))?"meant":"other"}
      title=${[d,u,m].filter(Boolean).join(" · ")}>${c}</mark>`:c},l=[...new Set(r.map(({kind:c})=>c).filter(Boolean))];return i`<section aria-label=${o("detail.text")}><h3>${o("detail.text")}</h3>
    <blockquote class="caption" tabindex="0">${s.map(a)}</blockquote>
    ${l.length>0&&i`<p class="faint named-in">${o("detail.namesIn",{kinds:l.join(", ")})}</p>`}</section>`}function gn({image:t}){let e=Object.entries(t.columns).filter(([,n])=>n!==null&&n!=="");return i`<dl class="facts">
    ${t.width>0&&i`<dt>${o("detail.size")}</dt><dd>${t.width} × ${t.height}</dd>`}
    <dt>${o("detail.file")}</dt><dd>${t.path||`${t.shard} · ${t.key}`}</dd>
    ${/^https?:\/\//.test(t.url)&&i`<dt>${o("detail.from")}</dt><dd><a href=${t.url} rel="noreferrer noopener" target="_blank">${t.url}</a></dd>`}
    ${e.map(([n,r])=>i`<dt>${n}</dt><dd>${String(r)}</dd>`)}
  </dl>`}function bn({example:t,src:e,name:n,onClose:r,onRegion:s}){let[a,l]=v(t.region),[c,p]=v(!1),d=t.upload?e:rt(t.image);return i`<${Nt} title=${o("example.part",{name:n})} kind="wide" onClose=${r}>
    <div class="detail">
      <div class="stage">${d?i`<${Et} src=${d} alt=${n}>
          <${Xt} region=${a} onRegion=${l} onDone=${s} /><//>`:i`<p class="faint">${o("example.lost")}</p>`}</div>
      <div class="about">
        <p class="faint">${o("region.help")}</p>
        <div class="actions">
          <button class="button main" disabled=${!a} onClick=${()=>s(a)}>
            <${P} name="crop" />${o("region.search")}</button>
          <button class="button" disabled=${!t.region} onClick=${()=>s(null)}>${o("region.whole")}</button>
          <button class="button" aria-pressed=${c} onClick=${()=>p(!c)}>
            <${P} name="tag" />${o("detail.recognise")}</button>
        </div>
        ${c&&i`<${Vt} image=${t.image} upload=${t.upload} region=${a} />`}
      </div>
    </div>
  <//>`}var wn=6,kn=new Set(["date","licence","license"]),vn={month:"long",year:"numeric",timeZone:"UTC"},xn={type:({value:t,name:e})=>e===t?mt(t):e,verdict:({value:t})=>nt(t),folder:({value:t})=>t.split("/").pop(),date:({value:t})=>t.length>4?wt(new Date(`${t}-01`),vn):t};function En(t){let[e,n]=t.split("-").map(Number);return[new Date(Date.UTC(e,n?n-1:0)),new Date(Date.UTC(e,n||12,0))].map(r=>r.toISOString().slice(0,10))}function Sn({query:t,columns:e,onFilters:n}){let[r,s]=v(null),[a,l]=v(null),{filters:c}=t,p={...Kt(t),order:""};A(()=>{let f=new AbortController;return l(null),T.facets(p,f.signal).then(w=>{at((w.values.entity??[]).map(({value:k,name:C})=>({id:k,name:C}))),s(w)},w=>{w.name!=="AbortError"&&l(w)}),()=>f.abort()},[JSON.stringify(p),vt.value]);let d=f=>n({...c,...f}),u=(f,w,k={})=>i`<label class="field"><span>${w}</span>
    <${Oe} value=${c[f]??""} ...${k} onValue=${C=>d({[f]:C})} /></label>`,m=f=>(r?.values[f]??[]).map(w=>({...w,name:(xn[f]??(()=>w.name))(w)})).filter(w=>w.name),b=(f,w=k=>({[f]:k}))=>i`<ul class="facet-values">
    ${m(f).map(({value:k,name:C,images:g})=>i`<li key=${k}>
      <button type="button" class="facet-value" title=${k} onClick=${()=>d(w(k))}><span>${C}</span>
        <span class="figure">${dt(g)}<span class="unseen"> ${o("rail.images",{count:g})}</span></span></button></li>`)}</ul>`,$=(f,w,k)=>(c[f]||m(f).length>0)&&i`<section><h2>${w}</h2>
    ${c[f]?i`<button type="button" class="facet-value" aria-pressed="true" onClick=${()=>d({[f]:""})}>
        <span>${k}</span><${P} name="close" /></button>`:b(f)}</section>`,y=Number(c.min_probability??0),h=new Map(m("min_probability").map(({value:f,images:w})=>[Number(f),w]));return i`<div id="filters" class="rail" role="group" aria-label=${o("filters")}>
    ${a&&i`<${j} error=${a} />`}
    ${r?i`<p class="faint">${o(r.ranked?"rail.best":"rail.all",{count:r.images})}</p>`:!a&&i`<${K} what=${o("wait.counting")} />`}
    ${$("type",o("type"),mt(c.type??"")||c.type)}
    ${$("entity",o("view.entity"),pt.value[c.entity]??c.entity)}
    <section><label class="field"><span>${o("rail.least")}</span>
      <select value=${String(y)} onChange=${f=>d({min_probability:f.currentTarget.value})}>
        ${[0,.5,.8,.9,.95].map(f=>i`<option value=${String(f)} selected=${f===y}>
          ${f?`${Math.round(f*100)} %`:o("rail.any")}${h.has(f)?` · ${dt(h.get(f))}`:""}</option>`)}
      </select></label></section>
    ${$("verdict",o("rail.verdict"),nt(c.verdict))}
    <section>${u("folder",o("rail.folder"),{placeholder:"/photos/2024"})}${b("folder")}</section>
    ${e.includes("date")&&i`<section>${u("since",o("rail.since"),{type:"date"})}${u("until",o("rail.until"),{type:"date"})}
      ${b("date",f=>{let[w,k]=En(f);return{since:w,until:k}})}</section>`}
    ${e.some(f=>f==="licence"||f==="license")&&i`<section>
      ${u("licence",o("rail.licence"),{placeholder:"cc-by*"})}${b("licence")}</section>`}
    ${e.filter(f=>!kn.has(f)).slice(0,wn).map(f=>i`<section key=${f}>
      ${u(`column.${f}`,f)}${b(`column.${f}`)}</section>`)}
  </div>`}function me({ids:t,picked:e=!1,onOpen:n}){let r=Ht(async(s,a,l)=>{let c=t.slice(s,s+a),p=new Map(c.length?(await T.images(c,l)).map(d=>[d.id,d]):[]);return{items:c.map(d=>p.get(d)??{id:d,key:o("chosen.gone"),text:"",labels:[]}),total:t.length}},"");return r.error?i`<${j} error=${r.error} retry=${()=>r.retry()} />`:r.total===null?i`<${K} />`:i`<${Ut} label=${o("chosen.title")} list=${r} picked=${e?t:[]}
    tile=${(s,a,l)=>i`<${Wt} image=${s} active=${l} onOpen=${()=>n(s)}>
      <p class="tile-label faint">${s.labels.find(c=>c.accepted)?.name}</p><//>`} />`}function $e(t){let[e,n]=v(null),{params:r}=Y.value,s=Number(r.get("show"))||0,a=p=>{let d=new URLSearchParams(Y.value.params);return p?d.set("show",String(p)):d.delete("show"),R(t,d)},l=(p,d=null,u=!1)=>{n(d),st(a(p),u)},c=s>0&&i`<${Ct} id=${s} known=${e?.id===s?e:null}
    onClose=${()=>Pt(a(0))} onStep=${p=>l(p.id,p,!0)}
    onSearch=${p=>st(R(["search"],ht({...At,examples:[p]})))} />`;return{open:l,detail:c}}function Mn(){let t=Y.value.params.get("ids")??"",e=[...new Set(t.split(",").map(Number).filter(s=>Number.isInteger(s)&&s>0))],{open:n,detail:r}=$e(["images"]);return i`<h1>${o("images",{count:e.length})}</h1>
    ${e.length?i`<${me} key=${t} ids=${e} onOpen=${s=>n(s.id,s)} />`:i`<${H} title=${o("chosen.none")}><p><a href="#/search">${o("app.toSearch")}</a></p><//>`}
    ${r}`}var Ot=60,An=150;function fe({path:t,target:e,tail:n}){let{params:r}=Y.value,s=r.get("prefix")??"",a=r.get("type")??"",[l,c]=v(null),[p,d]=v(!1),[u,m]=v(null),[b,$]=v(0),y=f=>{let w=Object.fromEntries(Object.entries({prefix:s,type:a,...f}).filter(([,k])=>k));st(R(t,w),!0)};A(()=>{let f=new AbortController,w=setTimeout(async()=>{try{let k=await T.entities({prefix:s,type:a,limit:Ot},f.signal);at(k),c(k),d(k.length===Ot),m(null),(s||a)&&q(o(k.length===Ot?"entities.least":"entities",{count:k.length}))}catch(k){k.name!=="AbortError"&&m(k)}},l?An:0);return()=>{clearTimeout(w),f.abort()}},[s,a,b]);let h=async()=>{try{let f=await T.entities({prefix:s,type:a,limit:Ot,offset:l.length});at(f),c([...l,...f]),d(f.length===Ot)}catch(f){m(f)}};return i`
    <form class="entity-filters" role="search" onSubmit=${f=>f.preventDefault()}>
      <label class="field"><span>${o("entities.prefix")}</span><input type="text" value=${s} autocomplete="off"
        onInput=${f=>y({prefix:f.currentTarget.value})} /></label>
      <label class="field"><span>${o("type")}</span><input type="text" value=${a} autocomplete="off"
        onInput=${f=>y({type:f.currentTarget.value})} /></label>
    </form>
    ${u&&i`<${j} error=${u} retry=${()=>$(b+1)} />`}
    ${!l&&!u&&i`<${K} />`}
    ${l?.length===0&&(s||a?i`<${H} title=${o("entities.unknown")}>
        <p>${o("entities.unknownHint")}</p><//>`:i`<${H} title=${o("entities.none")}>
        <p>${o("entities.noneHint")}</p><//>`)}
    <ul class="entity-list">${l?.map(f=>i`<li key=${f.id}>
      <a class="entity-card" href=${e(f)}>
        <strong>${f.name}</strong>
        <span class="faint">${_t(f)}</span>
        <span class="figure">${n?n(f):o("images",{count:f.images})}</span>
      </a></li>`)}</ul>
    ${p&&i`<p class="center"><button class="button" onClick=${h}>${o("more")}</button></p>`}`}function Cn(){return i`<h1>${o("view.entities")}</h1>
    <${fe} path=${["entities"]} target=${t=>R(["entity",t.id])} />`}var On=12,Tn=[["labels","entity.kindLabels"],["candidates","entity.kindBelow"],["all","entity.kindAll"]],Rn=[["sure","entity.sure"],["doubt","entity.doubt"]];function Ln(){let{rest:[t=""],params:e}=Y.value,[n,r]=v(null),[s,a]=v(null),[l,c]=v(null),[p,d]=v(0);return A(()=>{let u=!0;return T.entity(t).then(m=>{u&&(at([m]),r(m))},m=>u&&c(m)),T.similar(t).then(m=>u&&a(m),()=>{}),()=>{u=!1}},[t,p]),l?i`<h1 class="unseen">${o("view.entity")}</h1><${j} error=${l} retry=${()=>{c(null),d(p+1)}} />
    <p class="center"><a href="#/entities">${o("entity.all")}</a></p>`:n?i`
    <article class="entity">
      <header class="entity-head">
        <div>
          <h1>${n.name}</h1>
          ${n.description&&i`<p class="lead">${n.description}</p>`}
          <ul class="chips" aria-label=${o("types")}>
            ${n.types.filter(mt).map(u=>i`<li key=${u}><${Ne} href=${R(["entities"],{type:u})}>${mt(u)}<//></li>`)}
            <li><span class="faint">${n.id}</span></li>
          </ul>
          <${Pn} aliases=${n.aliases.filter(u=>u.toLowerCase()!==n.name.toLowerCase())} />
        </div>
        <div class="entity-side">
          <dl class="counts">
            <div><dt>${o("entity.named")}</dt><dd>${dt(n.named)} <span>${o("entity.texts",{count:n.named})}</span></dd></div>
            <div><dt>${o("entity.shown")}</dt><dd>${dt(n.images)} <span>${o("entity.images",{count:n.images})}</span></dd></div>
          </dl>
          <div class="actions">
            <a class="button main" href=${R(["search"],ht({...At,entity:t}))}><${P} name="search" />${o("entity.search")}</a>
            <a class="button" href=${R(["review","grid",t])}><${P} name="check" />${o("entity.review")}</a>
          </div>
        </div>
      </header>
      <${Nn} entity=${n} params=${e} />
      ${s?.length>0&&i`<section aria-labelledby="look-alikes"><h2 id="look-alikes">${o("entity.alike")}</h2>
        <ul class="entity-list">${s.map(u=>i`<li key=${u.id}>
          <a class="entity-card" href=${R(["entity",u.id])}><strong>${u.name}</strong>
            <span class="faint">${_t(u)}</span>
            <span class="figure">${o("images",{count:u.images})}</span></a></li>`)}</ul></section>`}
    </article>`:i`<${K} />`}function Pn({aliases:t}){let[e,n]=v(!1);if(!t.length)return null;let r=e?t:t.slice(0,On);return i`<p class="aliases"><span class="faint">${o("entity.also")}</span> ${r.join(" · ")}
    ${t.length>r.length&&i` <button class="link" onClick=${()=>n(!0)}>${o("entity.more",{count:t.length-r.length})}</button>`}</p>`}function Nn({entity:t,params:e}){let n=e.get("show")??"labels",r=e.get("order")==="doubt"?"doubt":"sure",s=Number(e.get("image"))||0,[a,l]=v(null),c={labels:!0,candidates:!1}[n],p={labels:t.images,candidates:t.named-t.images}[n]??t.named,d=Ht(async($,y,h)=>({items:await T.entityImages(t.id,{order:r,accepted:c,limit:y,offset:$},h),total:p}),`${t.id} ${n} ${r} ${p} ${vt.value}`),u=($,y=!0)=>{let h=new URLSearchParams(e);Object.entries($).forEach(([f,w])=>w?h.set(f,w):h.delete(f)),st(R(["entity",t.id],h),y)},m=()=>{let $=new URLSearchParams(e);$.delete("image"),Pt(R(["entity",t.id],$))},b=($,y,h,f,w)=>i`<${_e} legend=${$} name=${y} value=${f}
    options=${h.map(([k,C])=>[k,o(C)])} onChange=${k=>u({[y]:k===w?"":k})} />`;return i`<section aria-labelledby="images">
    <div class="results-head"><h2 id="images">${o("view.images")}</h2>
      ${b(o("entity.which"),"show",Tn,n,"labels")}${b(o("order"),"order",Rn,r,"sure")}</div>
    ${d.error?i`<${j} error=${d.error} retry=${()=>d.retry()} />`:d.total===null?i`<${K} />`:d.total?i`<${Ut} label=${o("entity.imagesOf",{name:t.name})} list=${d} entity=${t.id}
            tile=${($,y,h)=>i`<${Wt} image=${$.image} active=${h} kind=${$.accepted?"":"beyond"}
              about=${[o("tile.probability",{share:V($.probability)}),$.verdict&&o("tile.judged",{said:nt($.verdict)})].filter(Boolean).join(", ")}
              onOpen=${()=>{l($.image),u({image:String($.image.id)},!1)}}>
              <div class="tile-row"><${ft} value=${$.probability} />
                ${$.verdict&&i`<span class=${`said ${$.verdict}`}>${nt($.verdict)}</span>`}</div><//>`} />`:i`<${H} title=${o("entity.noImage")}>
          <p>${o(n==="labels"?"entity.unlabelled":"entity.noneOfKind")}</p><//>`}
    ${s>0&&i`<${Ct} id=${s} known=${a?.id===s?a:null}
      onClose=${m} onStep=${$=>{l($),u({image:String($.id)})}}
      onSearch=${$=>st(R(["search"],ht({...At,examples:[$]})))} />`}
  </section>`}var Tt=([t,e,n,r])=>({x:(t+n)/2,y:(e+r)/2,zoom:1});function ye({deepest:t},[e,n,r]){let s=65536/2**Math.min(e,t);return{left:n*s,top:r*s,side:s}}function Be(t,e){let n=Math.floor(t.byteLength/17),r=0,s=a=>{let l=new a(t,r,n);return r+=l.byteLength,l};return{...e,images:s(Float64Array),x:s(Uint16Array),y:s(Uint16Array),area:s(Uint16Array),type:s(Uint8Array),probability:s(Uint8Array),verdict:s(Uint8Array)}}var ut=(t,{width:e,height:n,bounds:[r,s,a,l]})=>t.zoom*Math.min(Math.max(1,e-32)/Math.max(1,a-r),Math.max(1,n-32)/Math.max(1,l-s));function yt(t,e,n,r){let s=ut(t,e);return[t.x+(n-e.width/2)/s,t.y+(r-e.height/2)/s]}function gt(t,e,n,r){let s=ut(t,e);return[(n-t.x)*s+e.width/2,(r-t.y)*s+e.height/2]}var Zt=(t,e,n)=>Math.min(n,Math.max(e,t)),Jt=({x:t,y:e,zoom:n},[r,s,a,l])=>({x:Zt(t,r,a),y:Zt(e,s,l),zoom:Zt(n,1,4e3)});function te(t,e,n,[r,s],[a,l]){let[c,p]=yt(t,e,r,s),d=Zt(t.zoom*n,1,4e3),u=ut({...t,zoom:d},e);return Jt({x:c-(a-e.width/2)/u,y:p-(l-e.height/2)/u,zoom:d},e.bounds)}var Rt=(t,e,n,r=e.width/2,s=e.height/2)=>te(t,e,n,[r,s],[r,s]);function ee(t,e){let[n,r]=yt(t,e,0,0),[s,a]=yt(t,e,e.width,e.height);return[[n,r],[s,r],[s,a],[n,a]]}function ne(t,e,n,r){let[[s,a],,[l,c]]=ee(e,n),p=t.tiles.filter(u=>{let m=ye(t,u);return m.left<=l&&m.top<=c&&m.left+m.side>=s&&m.top+m.side>=a}),d=[];for(let u=0,m=0;u<p.length&&m<r;){let b=u,$=0;for(;b<p.length&&p[b][0]===p[u][0];)$+=p[b++][3];let y=Math.min(1,(r-m)/$);for(;u<b;)d.push([p[u],Math.floor(p[u++][3]*y)]);m+=$}return d}function Ue(t,e,n,r){let s=null,a=r*r;for(let[l,c]of t){if(e+r<l.left||n+r<l.top||e-r>l.left+l.side||n-r>l.top+l.side)continue;let p=l.side/65536;for(let d=0;d<c;d+=1){let u=(l.left+l.x[d]*p-e)**2+(l.top+l.y[d]*p-n)**2;u<=a&&([s,a]=[{tile:l,row:d},u])}}return s}var oe=(t,e)=>[t.left+t.x[e]*t.side/65536,t.top+t.y[e]*t.side/65536];function We(t,e,n){let r=!1;for(let s=0,a=t.length-1;s<t.length;a=s,s+=1){let[[l,c],[p,d]]=[t[s],t[a]];c>n!=d>n&&e<(p-l)*(n-c)/(d-c)+l&&(r=!r)}return r}var Ke=t=>t.split(",").map(Number),he=t=>Number(t.toFixed(2));function He(t){let e=Math.max(1,Math.ceil(t.length/60));return t.filter((n,r)=>r%e===0).map(n=>n.map(he).join(",")).join(";")}function re(t){let e=t.split(";").map(Ke),n=r=>r.length===2&&r.every(s=>Math.abs(s)<=1e6);return e.length>=3&&e.length<=500&&e.every(n)?e:null}function Ge(t,e){let n=[t.x,t.y,t.zoom].map(he).join();return n===Object.values(Tt(e)).map(he).join()?"":n}function ge(t,e){let[n,r,s,...a]=Ke(t);return t&&!a.length&&[n,r,s].every(Number.isFinite)?Jt({x:n,y:r,zoom:s},e):Tt(e)}var se=8,_n=`#version 300 es
in float x; in float y; in float shade;
uniform vec4 box; uniform vec4 colours[16]; uniform float size;
flat out vec3 colour;
void main() {
  vec4 own = colours[int(shade)];
  gl_Position = vec4(x * box.x + box.z, y * box.y + box.w, shade / 16.0, 1.0);
  gl_PointSize = size * own.a;
  colour = own.rgb;
}`,Dn=`#version 300 es
precision lowp float;
flat in vec3 colour; out vec4 painted;
void main() { painted = vec4(colour, 1.0); }`,In=/swiftshader|llvmpipe|softpipe|software|basic render/i,qe=null;function Fn(){let t=document.createElement("canvas").getContext("webgl2",{failIfMajorPerformanceCaveat:!0});if(!t)return!1;let e=t.getExtension("WEBGL_debug_renderer_info"),n=t.getParameter(e?e.UNMASKED_RENDERER_WEBGL:t.RENDERER);return t.getExtension("WEBGL_lose_context")?.loseContext(),!In.test(n)}function be(t){qe??=Fn();let e=qe&&t.getContext("webgl2",{antialias:!1,preserveDrawingBuffer:!0});return e?jn(t,e):Bn(t)}function Ve(t,{width:e,height:n}){let r=devicePixelRatio||1,[s,a]=[Math.round(e*r),Math.round(n*r)];return(t.width!==s||t.height!==a)&&([t.width,t.height]=[s,a]),r}function ze(t,e){return Uint8Array.from(t.x,(n,r)=>e.shade(t,r))}function jn(t,e){let n=e.createProgram();for(let[$,y]of[[e.VERTEX_SHADER,_n],[e.FRAGMENT_SHADER,Dn]]){let h=e.createShader($);e.shaderSource(h,y),e.compileShader(h),e.attachShader(n,h)}e.linkProgram(n),e.useProgram(n),e.enable(e.DEPTH_TEST),e.depthFunc(e.LEQUAL);let[r,s,a]=["box","colours","size"].map($=>e.getUniformLocation(n,$)),l=new Map,c=new Set,p=null,d=1,u=($,y,h,f)=>{let w=e.createBuffer(),k=e.getAttribLocation(n,$);return e.bindBuffer(e.ARRAY_BUFFER,w),e.bufferData(e.ARRAY_BUFFER,y,e.STATIC_DRAW),e.enableVertexAttribArray(k),e.vertexAttribPointer(k,1,h,f,0,0),w},m=({array:$,buffers:y})=>{e.deleteVertexArray($),y.forEach(h=>e.deleteBuffer(h))},b=$=>{c.add($);let y=l.get($);if(y?.key!==p.key){y&&m(y);let h=e.createVertexArray();e.bindVertexArray(h),y={array:h,key:p.key,buffers:[u("x",$.x,e.UNSIGNED_SHORT,!0),u("y",$.y,e.UNSIGNED_SHORT,!0),u("shade",ze($,p),e.UNSIGNED_BYTE,!1)]},l.set($,y)}e.bindVertexArray(y.array)};return{clear($,y){for(let[h,f]of l)c.has(h)||(m(f),l.delete(h));c=new Set,p=y,d=Ve(t,$),e.viewport(0,0,t.width,t.height),e.uniform4fv(s,p.colours.flat()),e.clear(e.COLOR_BUFFER_BIT|e.DEPTH_BUFFER_BIT)},draw($,y,h,f,w,k){b($);let[C,g]=gt(f,w,$.left,$.top),S=$.side*ut(f,w);e.uniform4f(r,2*S/w.width,-2*S/w.height,2*C/w.width-1,1-2*g/w.height),e.uniform1f(a,k*d),e.drawArrays(e.POINTS,y,h-y)},show(){}}}function Bn(t){let e=t.getContext("2d",{willReadFrequently:!0}),n=new WeakMap,r=null,s=1,a=null,l=null,c=null,p=null;return{clear(d,u){r=u,s=Ve(t,d),(a?.width!==t.width||a.height!==t.height)&&(a=e.createImageData(t.width,t.height),l=new Uint32Array(a.data.buffer),c=new Uint8Array(l.length)),l.fill(0),c.fill(r.colours.length),p=r.colours.map(m=>new Uint32Array(Uint8Array.from([...m.slice(0,3).map(b=>Math.round(b*255)),255]).buffer)[0])},draw(d,u,m,b,$,y){n.get(d)?.key!==r.key&&n.set(d,{key:r.key,shades:ze(d,r)});let{shades:h}=n.get(d),[f,w]=gt(b,$,d.left,d.top).map(_=>_*s),k=d.side*ut(b,$)*s/65536,C=r.colours.map(([,,,_])=>Math.max(1,Math.round(y*s*_))),{width:g,height:S}=a;for(let _=u;_<m;_+=1){let G=h[_],B=C[G],D=Math.round(f+d.x[_]*k-B/2),F=Math.round(w+d.y[_]*k-B/2);if(D+B<=0||F+B<=0||D>=g||F>=S)continue;let Q=Math.min(g,D+B);for(let z=Math.max(0,F);z<Math.min(S,F+B);z+=1)for(let Z=z*g+Math.max(0,D),X=z*g+Q;Z<X;Z+=1)G>c[Z]||(c[Z]=G,l[Z]=p[G])}},show(){e.putImageData(a,0,0)}}}var Un=4,Wn=6e5;function Ye(t,e,n){let r=new Map,s=new Set,a=new AbortController,l=[],c=0,p=()=>{for(;s.size<Un&&l.length;){let d=l.shift(),u=d.slice(0,3).join("/");s.has(u)||r.has(u)||(s.add(u),T.mapTile(u,t.state,a.signal).then(m=>{r.set(u,Be(m,ye(t,d))),c+=d[3],e()}).catch(m=>{a.signal.aborted||n(m)}).finally(()=>{s.delete(u),p()}))}};return{take(d){let u=[],m=[];for(let[b,$]of d){let y=b.slice(0,3).join("/"),h=r.get(y);if(!h){m.push(b);continue}r.delete(y),r.set(y,h),u.push([h,Math.min($,h.x.length)])}for(let[b,$]of r){if(c<=Wn||r.size<=u.length)break;r.delete(b),c-=$.x.length}return l=m,p(),u},close:()=>a.abort()}}var Kn=.15,ie=1.4,Hn=9,Gn=4,qn=250,Xe=15e4,[Vn,zn]=[8e3,6e4],Yn=20,Xn=300,Qn=64,ae=3e4;function Zn(t){ae=t>Yn?Math.max(Vn,ae*.75):Math.min(zn,ae*1.03)}function Jn({painter:t,tiles:e,plane:n,frame:r,size:s,style:a,radius:l},c,p){let d=new Map,u=!0,m=0,b=$=>{requestAnimationFrame(k=>Zn(k-$));let y=Math.floor(ae),h=y,f=(k,C)=>{let g=d.get(k)??0,S=Math.min(C,g+h);S<=g||(t.draw(k,g,S,r,s,l),d.set(k,S),h-=S-g)};if(u){t.clear(s,a);for(let[k,C]of e.take(ne(n,r,s,y)))f(k,C);u=!1}let w=e.take(ne(n,r,s,Xe));for(let[k,C]of w)h&&f(k,C);t.show(),c(y-h),m=0,w.some(([k,C])=>(d.get(k)??0)<C)?m=requestAnimationFrame(b):p(w)};return m=requestAnimationFrame(b),{stop:()=>cancelAnimationFrame(m),more:()=>{m||=requestAnimationFrame(b)}}}function to(t,e,n){let r=[],[[s,a],,[l,c]]=ee(e,n);for(let[d,u]of t){let[m,b,$,y]=[s-d.left,l-d.left,a-d.top,c-d.top].map(h=>h*65536/d.side);for(let h=0;h<u;h+=1){if(d.x[h]<m||d.x[h]>b||d.y[h]<$||d.y[h]>y)continue;let f=oe(d,h),[w,k]=gt(e,n,...f);if(r.push({id:d.images[h],at:f,x:w,y:k,tile:d,row:h})>Xn)return[]}}let p=[];for(let d of r)p.every(({x:u,y:m})=>Math.max(Math.abs(u-d.x),Math.abs(m-d.y))>Qn)&&p.push(d);return p}function eo(t,e,n){let r=[];return t.areas.forEach(({entities:s,type:a,x:l,y:c},p)=>{let d=s[0]||a,[u,m]=gt(e,n,l,c),b=Math.min(90,10+4*d.length);!d||u<b||m<56||u>n.width-b||m>n.height-14||r.every($=>Math.abs($.top-m)>24||Math.abs($.left-u)>$.half+b)&&r.push({place:p,name:d,left:u,top:m,half:b})}),r}function Qe({plane:t,tiles:e,turn:n,style:r,frame:s,onFrame:a,lasso:l,marked:c,onLasso:p,onOpen:d}){let u=U(null),m=U(null),b=U(null),[$,y]=v(!1),[h,f]=v(null),[w,k]=v(null),[C,g]=v([]),[S,_]=v(null),G=U(null),B=U(new Map),D=()=>({width:u.current.clientWidth,height:u.current.clientHeight,bounds:t.bounds}),F=Math.min(7,(t.images>2e4?2:t.images>2e3?3.6:6.4)*Math.sqrt(s.zoom));Ce.value;let Q=u.current&&r(u.current);Ee(()=>{if(!S)return;m.current??=be(u.current);let x=0,M=u.current;return b.current=Jn({painter:m.current,tiles:e,plane:t,frame:s,size:S,style:Q,radius:F},L=>{M.dataset.marks=String(L)},L=>{M.dataset.drawn=String(L.reduce((O,[,et])=>O+et,0)),clearTimeout(x),x=setTimeout(()=>g(to(L,s,S)),qn)}),()=>{b.current.stop(),clearTimeout(x)}},[t,e,s,Q?.key,S]),A(()=>b.current?.more(),[n]),A(()=>{let x=u.current,M=()=>_(D());M();let L=new ResizeObserver(M);L.observe(x);let O=Mt=>{Mt.preventDefault();let[ln,cn]=z(Mt);a(un=>Rt(un,D(),Math.exp(-Mt.deltaY/400),ln,cn))},et=Mt=>Mt.preventDefault(),xe=()=>{m.current=be(x),M()};return x.addEventListener("wheel",O,{passive:!1}),x.addEventListener("webglcontextlost",et),x.addEventListener("webglcontextrestored",xe),()=>{L.disconnect(),x.removeEventListener("wheel",O),x.removeEventListener("webglcontextlost",et),x.removeEventListener("webglcontextrestored",xe)}},[t]);let z=x=>{let M=u.current.getBoundingClientRect();return[x.clientX-M.left,x.clientY-M.top]},Z=([x,M])=>S&&Ue(e.take(ne(t,s,S,Xe)),...yt(s,S,x,M),Hn/ut(s,S)),X=x=>k(x.pointerType==="mouse"?z(x):null),tt=()=>{let[[x,M],[L,O]]=B.current.values();return{apart:Math.max(1,Math.hypot(x-L,M-O)),middle:[(x+L)/2,(M+O)/2]}},E=x=>{if(x.button)return;x.currentTarget.setPointerCapture(x.pointerId);let[M,L]=z(x);B.current.set(x.pointerId,[M,L]),k(null),f(null),B.current.size===2?G.current={frame:s,pinch:tt()}:B.current.size===1?G.current={x:M,y:L,frame:s,path:$||x.shiftKey?[yt(s,D(),M,L)]:null}:G.current=null},N=x=>{let[M,L]=z(x),O=G.current;if(B.current.has(x.pointerId)&&B.current.set(x.pointerId,[M,L]),O?.pinch){let et=tt();a(()=>te(O.frame,D(),et.apart/O.pinch.apart,O.pinch.middle,et.middle))}else O?.path?(O.path.push(yt(s,D(),M,L)),f([...O.path])):O?a(()=>te(O.frame,D(),1,[O.x,O.y],[M,L])):X(x)},W=()=>{B.current.clear(),G.current=null,f(null)},I=x=>{let M=G.current;if(W(),X(x),!M||M.pinch)return;let[L,O]=z(x),et=!M.path&&Math.hypot(L-M.x,O-M.y)<Gn&&Z([L,O]);M.path?.length>2?p(M.path):et&&d(et.tile.images[et.row])},J=x=>{let M={ArrowLeft:[-1,0],ArrowRight:[1,0],ArrowUp:[0,-1],ArrowDown:[0,1]}[x.key],L=Kn*Math.min(D().width,D().height)/ut(s,D());if(!(x.altKey||x.ctrlKey||x.metaKey)){if(M)a(O=>Jt({...O,x:O.x+M[0]*L,y:O.y+M[1]*L},t.bounds));else if(x.key==="+"||x.key==="=")a(O=>Rt(O,D(),ie));else if(x.key==="-")a(O=>Rt(O,D(),1/ie));else if(x.key==="0"||x.key==="Home")a(()=>Tt(t.bounds));else if(x.key==="Enter")p(ee(s,D()));else if(x.key==="Escape"&&G.current)W();else return;x.preventDefault()}},bt=(x,M,L)=>i`<button class="button" aria-label=${M} title=${M}
    onClick=${()=>{a(O=>x?Rt(O,D(),x):Tt(t.bounds)),q(M)}}>${L}</button>`,le=x=>S&&gt(s,S,...x),ve=([x,M])=>({transform:`translate(${x}px, ${M}px)`}),St=w&&Z(w),ce=S&&(h??l)?.map(x=>le(x).map(M=>M.toFixed(1)).join()).join(" ");return i`<div class="map-frame">
    <div class="map-tools" role="group" aria-label=${o("view.map")}>
      <button class="button" aria-pressed=${$} onClick=${()=>y(!$)}><${P} name="lasso" />${o("map.lasso")}</button>
      ${bt(ie,o("map.zoomIn"),"+")}${bt(1/ie,o("map.zoomOut"),"−")}${bt(0,o("map.showAll"),o("map.all"))}
    </div>
    <canvas ref=${u} class=${$?"drawing":""} tabindex="0" role="application" aria-roledescription=${o("map.role")}
      data-zoom=${s.zoom.toFixed(2)} data-centre=${`${Math.round(s.x)},${Math.round(s.y)}`}
      aria-label=${o("map.help")}
      onPointerDown=${E} onPointerMove=${N} onPointerUp=${I} onPointerCancel=${W}
      onPointerLeave=${()=>k(null)} onKeyDown=${J} />
    ${S&&i`<div class="map-over" aria-hidden="true">
      ${C.map(({id:x,at:M,tile:L,row:O})=>i`<div key=${x} class="map-image" style=${{...ve(le(M)),borderColor:no(Q,L,O)}}>
        <${ot} image=${{id:x}} /></div>`)}
      <svg>${ce&&i`<polygon class="lasso-edge" points=${ce} /><polygon points=${ce} />`}
        ${c.map(x=>{let[M,L]=le(x);return i`<circle key=${x.join()} cx=${M} cy=${L} r="6" />`})}</svg>
      ${eo(t,s,S).map(({place:x,name:M,left:L,top:O})=>i`<span key=${x} class="map-name"
        style=${ve([L,O])}><span>${M}</span></span>`)}
    </div>`}
    ${St&&i`<div class="map-near" style=${{left:`${w[0]}px`,top:`${w[1]}px`}}>
      <${ot} key=${St.tile.images[St.row]} image=${{id:St.tile.images[St.row]}} /></div>`}
  </div>`}function no({colours:t,shade:e},n,r){return`rgb(${t[e(n,r)].slice(0,3).map(s=>s*255).join(" ")})`}var oo=300,[ro,so]=[500,100],Ze=[],io=.86;function ao(){let[t,e]=v(null),[n,r]=v(null),[s,a]=v(0);A(()=>{let p=!0;return T.map().then(d=>p&&e(d),d=>p&&r(d)),()=>{p=!1}},[s]);let l=()=>{r(null),a(s+1)},c=p=>p instanceof Se&&p.status===409?a(s+1):r(p);return i`<h1>${o("view.map")}</h1>${n?i`<${j} error=${n} retry=${l} />`:t?t.images?i`<${$o} plane=${t} onError=${c} />`:i`<${H} title=${o("map.none")}><p>${t.note}</p><//>`:i`<${K} />`}`}function lo(t){let{types:e}=t;return{"":{title:o("types"),of:(n,r)=>n.type[r],names:[...e.map(({type:n,images:r},s)=>[mt(n)||n,s+1,r]),[o("map.otherTypes"),0,t.other],[o("map.noLabel"),0,t.unlabelled]]},probability:{title:o("map.byProbability"),of:(n,r)=>{let s=(n.probability[r]-1)/254;return s<0?4:s>=.95?0:s>=.8?1:s>=.5?2:3},names:[[o("map.from95"),4],[o("map.from80"),2],[o("map.from50"),1],[o("map.below50"),6],[o("map.noLabel"),0]]},verdict:{title:o("map.byVerdict"),of:(n,r)=>(n.verdict[r]+3)%4,names:[[o("said.right"),4],[o("said.wrong"),6],[o("said.unsure"),3],[o("map.unjudged"),0]]}}}function co(t,{names:e}){let n=getComputedStyle(t),r=l=>{let c=n.getPropertyValue(l).trim().slice(1).replace(/^(.)(.)(.)$/,"$1$1$2$2$3$3");return[0,2,4].map(p=>Number.parseInt(c.slice(p,p+2),16)/255)},s=r("--surface"),a=Array.from({length:se},(l,c)=>[...r(e[c]?.[1]?`--map-${e[c][1]}`:"--map-rest"),c===e.length-1?.6:1]);return[...a,...a.map(([l,c,p,d])=>[...[l,c,p].map((u,m)=>u+(s[m]-u)*io),d])]}function uo(t){let{params:e}=Y.value,n=e.get("at")??"",[r,s]=v(()=>ge(n,t.bounds)),a=U(n);A(()=>{n!==a.current&&(a.current=n,s(ge(n,t.bounds)))},[n]);let l=(c,p=!1)=>{let d=new URLSearchParams(Y.value.params);Object.entries(c).forEach(([u,m])=>m?d.set(u,m):d.delete(u)),st(R(["map"],d),p)};return A(()=>{let c=setTimeout(()=>{let p=Ge(r,t.bounds);p===a.current||Y.value.view!=="map"||(a.current=p,l({at:p},!0))},oo);return()=>clearTimeout(c)},[r]),{params:e,frame:r,setFrame:s,set:l}}function po(t,e,n,r){let[s,a]=v(null);return A(()=>{if(a(null),!e&&n===null)return;let l=new AbortController;return T.mapChosen(e?{lasso:re(e)}:{area:n},l.signal).then(c=>{a(c),q(`${o("map.chosen",{count:c.total})}.`)},c=>{l.signal.aborted||r(c)}),()=>l.abort()},[t,e,n]),s}function mo(t,e){let n=Pe(t)?JSON.stringify(Kt(t)):"",[r,s]=v(Ze);return A(()=>{if(s(Ze),!n)return;let a=new AbortController;return(async()=>{let{hits:l,end:c}=await T.search({...JSON.parse(n),limit:ro},a.signal),p=l.slice(0,c||so).map(({image:m})=>m.id),{x:d,y:u}=p.length?await T.mapPlaces(p,a.signal):{x:[],y:[]};s(d.map((m,b)=>[m,u[b]])),q(o("map.marked",{count:d.length}))})().catch(l=>{a.signal.aborted||e(l)}),()=>a.abort()},[n]),{asked:n,marked:r}}function $o({plane:t,onError:e}){let{params:n,frame:r,setFrame:s,set:a}=uo(t),[l,c]=v(null),[p,d]=v(0),{open:u,detail:m}=$e(["map"]),b=re(n.get("lasso")??"")?n.get("lasso"):"",$=ue(()=>b?re(b):null,[b]),y=n.has("area")?Number(n.get("area")):null,h=!b&&t.areas[y]?y:null,f=po(t,b,h,e),w=Le(n),{asked:k,marked:C}=mo(w,e);A(()=>{kt(w.entity)},[w.entity]);let g=w.text||pt.value[w.entity]||w.entity,S=ue(()=>Ye(t,()=>d(F=>F+1),e),[t]);A(()=>S.close,[S]);let _=lo(t),G=n.get("colour")??"",B=Object.hasOwn(_,G)?G:"",D=F=>{let Q=co(F,_[B]),{of:z}=_[B],Z=(X,tt,E)=>(l===null||l===E)&&(h===null||X.area[tt]===h)&&(!$||We($,...oe(X,tt)));return{key:[Q,B,l,h,b].join("|"),colours:Q,shade:(X,tt)=>{let E=Math.min(se-1,z(X,tt));return Z(X,tt,E)?E:E+se}}};return i`
    <p class="lead">${o("map.lead",{count:t.images})}${t.missing>0&&` ${o("map.missing",{count:t.missing})}`}</p>
    ${k&&i`<div class="results-head"><p>${o(g?"map.markedFor":"map.markedSearch",{what:g,images:i`<strong>${o("images",{count:C.length})}</strong>`})}</p>
      <button class="button" onClick=${()=>a(Object.fromEntries([...ht(w).keys()].map(F=>[F,""])))}>${o("map.markNone")}</button></div>`}
    <div class="map">
      <${Qe} plane=${t} tiles=${S} turn=${p} style=${D} frame=${r} onFrame=${s} lasso=${$} marked=${C}
        onLasso=${F=>a({lasso:He(F),area:""})} onOpen=${u} />
      <div class="map-side">
        <${fo} ways=${_} way=${B} bright=${l} onBright=${c}
          onWay=${F=>{c(null),a({colour:F},!0)}} />
        <${ho} plane=${t} area=${h} params=${n} />
      </div>
    </div>
    ${f&&i`<${yo} key=${`${b} ${h}`} chosen=${f}
      onOpen=${F=>u(F.id,F)} onNone=${()=>a({lasso:"",area:""})} />`}
    ${m}`}function fo({ways:t,way:e,bright:n,onBright:r,onWay:s}){let{names:a}=t[e];return i`<section aria-labelledby="legend"><h2 id="legend">${t[e].title}</h2>
    <label class="field inline"><span>${o("map.colours")}</span> <select value=${e} onChange=${l=>s(l.currentTarget.value)}>
      ${Object.entries(t).map(([l,{title:c}])=>i`<option key=${l} value=${l} selected=${l===e}>${c}</option>`)}</select></label>
    <ul class="legend">${a.map(([l,c,p],d)=>p!==0&&i`<li key=${l}>
      <button type="button" aria-pressed=${n===d} title=${o("map.standOut",{name:l})}
        onClick=${()=>r(n===d?null:d)}>
        <span class=${`swatch ${c?`of-${c}`:d===a.length-1?"small":""}`} />
        <span>${l}</span>${p!==void 0&&i` <span class="figure">${dt(p)}</span>`}</button></li>`)}</ul></section>`}function ho({plane:t,area:e,params:n}){let r=s=>{let a=new URLSearchParams(n);return a.delete("lasso"),s===e?a.delete("area"):a.set("area",String(s)),R(["map"],a)};return i`<section aria-labelledby="areas"><h2 id="areas">${o("map.areas")}</h2>
    <ol class="areas">${t.areas.map(({images:s,entities:a,type:l},c)=>i`<li key=${c}>
      <a href=${r(c)} aria-current=${c===e?"true":void 0}>
        <span>${a.join(", ")||l||o("map.area",{place:c+1})}</span> <span class="figure">${o("images",{count:s})}</span></a></li>`)}</ol>
  </section>`}function yo({chosen:{total:t,images:e},onOpen:n,onNone:r}){let s=U(null);return A(()=>{s.current.getBoundingClientRect().top>innerHeight-60&&s.current.scrollIntoView({block:"center"})},[]),i`<section aria-labelledby="chosen">
    <div class="results-head"><h2 id="chosen" ref=${s}>${o("map.chosen",{count:t})}</h2>
      <button class="button" onClick=${r}>${o("map.chooseNone")}</button></div>
    ${t>e.length&&i`<p class="note" role="note">${o("map.first",{count:e.length})}</p>`}
    ${t?i`<${me} ids=${e} picked onOpen=${n} />`:i`<${H} title=${o("map.empty")}><p>${o("map.emptyHint")}</p><//>`}
  </section>`}var Je=50,go={dateStyle:"medium",timeStyle:"short"};function tn(){let t=it.value,[e,n]=v(null),[r,s]=v(!1),[a,l]=v(null),c=async m=>{l(null);try{await m()}catch(b){l(b)}},p=m=>c(async()=>{let b=await T.history({who:t,limit:Je,offset:m.length});it.value===t&&(n([...m,...b]),s(b.length===Je))});A(()=>{n(null),p([])},[t]);let d=m=>c(async()=>{await xt([m.verdict.id]),n(b=>b.filter($=>$!==m)),q(o("verdict.undone",{name:m.entity.name}))}),u=a&&i`<${j} error=${a} retry=${()=>p(e??[])} />`;return e?i`${u}
    ${e.length===0&&i`<${H} title=${o("history.none")}><p>${t?o("history.noneBy",{who:t}):o("history.noneUnnamed")}</p><//>`}
    <ol class="history" aria-label=${o("history.title")}>${e.map(m=>i`<${bo} key=${m.verdict.id} row=${m} onUndo=${()=>d(m)} />`)}</ol>
    ${r&&i`<p class="center"><button class="button" onClick=${()=>p(e)}>${o("more")}</button></p>`}`:u||i`<${K} />`}function bo({row:t,onUndo:e}){let{verdict:n,image:r,entity:s,instead:a}=t;return i`<li>
    <span class="small-image">${r&&i`<${ot} image=${r} />`}</span>
    <div><p><span class=${`said ${n.verdict}`}>${nt(n.verdict)}</span> <a href=${R(["entity",s.id])}>${s.name}</a>${a&&o("history.instead",{name:i`<a href=${R(["entity",a.id])}>${a.name}</a>`})}</p>
      <p class="faint">${r?i`<a href=${R(["images"],{ids:r.id,show:r.id})}>${lt(r)}</a>`:o("history.gone",{place:`${n.shard} · ${n.key}`})}
        ${" · "}<time datetime=${n.when}>${wt(new Date(n.when),go)}</time></p></div>
    <button class="button small" aria-label=${o("history.undo",{name:s.name,said:nt(n.verdict)})} onClick=${e}><${P} name="undo" />${o("undo")}</button></li>`}var nn=150,we=8,wo=300;function ko(){let t=(document.querySelector("main")?.clientWidth??innerWidth)-(innerWidth>760?48:32),e=Math.max(2,Math.floor((t+we)/(de(nn)+we)));return Math.min(60,e*Math.max(3,Math.floor((innerHeight-wo)/(t/e))))}var vo="agent:",Lt=null;async function xo(t,e,n,r){let s=new Map(e.map(({image:c})=>[`${c.shard} ${c.key}`,n[c.id]])),a=(await T.verdicts({entity:t})).filter(({id:c,who:p,shard:d,key:u})=>!r.includes(c)&&!p.startsWith(vo)&&s.has(`${d} ${u}`)),l=new Map(a.reverse().map(({shard:c,key:p,verdict:d})=>[`${c} ${p}`,d]));return l.size?{names:[...new Set(a.map(({who:c})=>c||o("reviewer.nameless")))].join(", "),count:l.size,otherwise:[...l].filter(([c,p])=>p!==s.get(c)).length}:null}var en=({names:t,count:e,otherwise:n})=>o("pager.faster",{names:t,count:e,otherwise:n});function on({entity:t,name:e}){let[n,r]=v(null),[s,a]=v({}),[l,c]=v(null),[p,d]=v(!1),[u,m]=v(new Set),[b,$]=v([]),[y,h]=v(null),[f,w]=v(!1),[k,C]=v(0),g=U(null),S=U(null),_=async()=>{h(null);try{r(await T.review({entity:t,order:"doubt",accepted:!0,who:it.value,limit:ko()})),a({}),d(!1),C(0)}catch(E){h(E)}};A(()=>{let E=Lt?.entity===t&&Lt.who===it.value?Lt:null;Lt=null,E?(r(E.page),a(E.values),d(!0)):_()},[]);let G=async()=>{if(!(f||!n?.length)){if([...g.current.querySelectorAll("img")].some(E=>!E.complete)){q(o("pager.early"));return}w(!0),h(null);try{let E=Object.fromEntries(n.map(({image:J})=>[J.id,D(J)])),N=await Ft(n.map(({image:J})=>({image:J,entity:t,value:E[J.id]}))),W=n.filter(({image:J})=>s[J.id]==="n").length;$([...b,{ids:N,page:n,values:s}]);let I=await xo(t,n,E,N).catch(()=>null);c(I),q(`${o("pager.taken",{count:n.length,wrong:W})}${I?` ${en(I)}`:""}`),await _(),g.current?.querySelector("button")?.focus()}catch(E){E.status===401&&(Lt={entity:t,page:n,values:s,who:it.value}),h(E)}finally{w(!1)}}},B=async()=>{let E=b.at(-1);if(!(f||!E)){w(!0);try{await xt(E.ids),$(b.slice(0,-1)),c(null),r(E.page),a(E.values),q(o("pager.undone"))}catch(N){h(N)}finally{w(!1)}}},D=E=>s[E.id]??(u.has(E.id)?"u":"y"),F=(E,N)=>{let W=n[E]?.image.id;W!==void 0&&a(I=>({...I,[W]:N}))},Q=(E,N)=>{let{id:W}=n[E].image;a(I=>({...I,[W]:D({id:W})===N?"y":N}))};$t(E=>{if(E.key==="z")return B(),!0;if(!n?.length)return!1;let N=Math.max(1,Math.round(g.current.clientWidth/(g.current.firstElementChild.offsetWidth+we))),W={ArrowLeft:-1,ArrowRight:1,ArrowUp:-N,ArrowDown:N}[E.key],I=g.current.contains(document.activeElement),J=I||document.activeElement===document.body||document.activeElement?.id==="main";if(E.key==="Enter"&&J)!E.repeat&&G();else if(E.key==="n"||E.key==="x"||E.key===" "&&I)Q(k,"n");else if(E.key==="u")Q(k,"u");else if(E.key==="y")F(k,"y");else if(W&&J){let bt=Math.max(0,Math.min(n.length-1,k+W));C(bt),g.current.querySelectorAll("button")[bt].focus()}else return!1;return!0});let z=(E,N)=>{if(E.pointerType==="touch"||E.button)return;let W=D(n[N].image)==="n"?"y":"n";S.current=W,F(N,W);let I=()=>{setTimeout(()=>{S.current=null}),removeEventListener("pointerup",I)};addEventListener("pointerup",I)},Z=E=>{if(!S.current||!E.buttons)return;let N=document.elementFromPoint(E.clientX,E.clientY)?.closest("[data-place]")?.dataset.place;N!==void 0&&F(Number(N),S.current)},X=n?.filter(({image:E})=>D(E)!=="y").length??0,tt=y&&i`<${j} error=${y} retry=${n?void 0:_} />`;return n?i`
    ${tt}
    ${p&&i`<p class="note" role="note">${o("pager.resumed",{name:it.value||o("reviewer.nameless")})}${" "}
      <button type="button" class="button small" onClick=${_}>${o("pager.anew")}</button></p>`}
    ${l&&i`<p class="note" role="note">${en(l)}</p>`}
    ${n.length===0?i`<${H} title=${o("pager.done")}>
        <p>${o("pager.next",{entity:i`<a href=${R(["entity",t])}>${o("pager.entity")}</a>`,other:i`<a href="#/review">${o("pager.other")}</a>`})}</p><//>`:i`<p class="keys">${o("pager.keys",{arrows:i`<kbd>←</kbd><kbd>→</kbd><kbd>↑</kbd><kbd>↓</kbd>`,wrong:i`<kbd>n</kbd>`,space:i`<kbd>${o("key.space")}</kbd>`,unsure:i`<kbd>u</kbd>`,enter:i`<kbd>${o("key.enter")}</kbd>`,undo:i`<kbd>z</kbd>`})}</p>
        <div class="judge-grid" ref=${g} role="group" aria-label=${o("pager.grid",{name:e})}
          style=${{"--least":`${de(nn)}px`}} onPointerMove=${Z}>
          ${n.map(({image:E},N)=>{let W=D(E);return i`<button key=${E.id} type="button" class=${`judge ${W}`} data-place=${N}
                tabindex=${N===k?0:-1} aria-label=${`${lt(E)}: ${nt(W)}`}
                onFocus=${()=>C(N)} onPointerDown=${I=>z(I,N)}
                onKeyDown=${I=>{I.key==="Enter"&&I.preventDefault()}}
                onClick=${I=>{I.detail&&!S.current&&Q(N,"n")}}>
              <${ot} key=${E.id} image=${E} onGone=${()=>m(I=>new Set(I).add(E.id))} />
              <span class="mark"><${P} name=${{y:"check",n:"close",u:"question"}[W]} /></span>
            </button>`})}
        </div>`}
    <div class="judge-bar">
      <button class="button main" disabled=${f||!n.length} onClick=${G}>
        <${P} name="check" />${o("pager.take",{right:n.length-X,wrong:X})}</button>
      <button class="button" disabled=${f||!b.length} onClick=${B}><${P} name="undo" /><span class="undo">${o("undo")}</span></button>
      <p class="faint">${b.length>0&&o("pager.judged",{count:b.reduce((E,N)=>E+N.page.length,0)})}</p>
    </div>`:tt||i`<${K} />`}function rn({entity:t}){let[e,n]=v(null);if(A(()=>{let u=!0;return T.precision(t).then(m=>u&&n(m),()=>{}),()=>{u=!1}},[vt.value,t]),!e?.judged&&!e?.agents)return null;let{precision:r,lower:s,upper:a,judged:l,labels:c,agents:p}=e,d=p>0&&i` <span class="faint">${o("precision.agents",{count:p})}</span>`;return l?i`<p class="precision" role="note">
    <span class="interval" aria-hidden="true"><span class="range" style=${{left:`${s*100}%`,width:`${(a-s)*100}%`}} />
      <span class="point" style=${{left:`${r*100}%`}} /></span>
    <span>${o("precision.sentence",{precision:i`<strong>${V(r)}</strong>`,lower:V(s),upper:V(a),verdicts:o("precision.verdicts",{count:l}),labels:o("labels",{count:c})})}${d}</span></p>`:i`<p class="precision" role="note">${d}</p>`}var Eo=20,So=9,sn={y:"single.saidYes",n:"single.saidNo",u:"said.unsure"},Mo={minimumFractionDigits:2,maximumFractionDigits:2},ke=({image:t,entity:e})=>`${t.id} ${e.id}`;function an({entity:t}){let[e,n]=v(null),[r,s]=v([]),[a,l]=v(null),{current:c}=U(new Set),p=U(!1),d=async()=>{l(null);try{let w=await T.review({entity:t,order:"active",accepted:!0,who:it.value,limit:Eo+c.size});n(w.filter(k=>!c.has(ke(k))))}catch(w){l(w)}};A(()=>{d()},[]);let u=e?.[0],m=()=>(c.add(ke(u)),b()),b=async()=>e.length>1?n(e.slice(1)):d(),$=async(w,k="",C="")=>{if(!(p.current||!u)){p.current=!0,l(null);try{let g=await Ft([{image:u.image,entity:u.entity.id,value:w,instead:k}]);s([...r,{ids:g,item:u,value:w,name:C}]),q(C?o("single.is",{name:C}):o("single.given",{said:o(sn[w])})),await b()}catch(g){l(g)}finally{p.current=!1}}},y=async()=>{let w=r.at(-1);if(!(p.current||!w)){p.current=!0;try{await xt(w.ids),s(r.slice(0,-1)),n([w.item,...e??[]]),q(o("single.undone"))}catch(k){l(k)}finally{p.current=!1}}};$t(w=>w.key!=="z"||w.repeat?!1:(y(),!0));let h=r.at(-1),f=a&&i`<${j} error=${a} retry=${e?void 0:d} />`;return i`${f}
    ${!e&&!a&&i`<${K} />`}
    ${e&&(u?i`<${Ao} key=${ke(u)} item=${u} onDecide=${$} onSkip=${m} />`:i`<${H} title=${o("single.done")}><p>${o(t?"single.noneLeft":"single.noLabelLeft")}
          ${" "}<a href="#/review">${o("single.choose")}</a></p><//>`)}
    <div class="judge-bar">
      <button class="button" disabled=${!h} onClick=${y}><${P} name="undo" /><span class="undo">${o("undo")}</span></button>
      <p class="faint" data-last>${h&&o(h.name?"single.lastInstead":"single.last",{name:h.item.entity.name,said:o(sn[h.value]),instead:h.name,share:V(h.item.probability),count:r.length})}</p>
    </div>`}function Ao({item:t,onDecide:e,onSkip:n}){let{image:r,entity:s}=t,[a,l]=v(null),[c,p]=v(null),[d,u]=v(!1);A(()=>{let g=!0;return T.reading(r.id).then(S=>g&&p(S),()=>{}),T.recogniseImage(r.id).then(S=>g&&l(S.entities),()=>g&&l([])),()=>{g=!1}},[]);let m=a?.find(g=>g.entity.id===s.id)?.evidence??[],b=c?.candidates??[],$=new Set(b.filter(g=>g.entity===s.id).map(g=>g.mention)),y=[...new Set([...$].map(g=>c.mentions[g]?.kind).filter(Boolean))],h=new Map(b.map(g=>[g.entity,g.description])),f=new Map(b.filter(g=>$.has(g.mention)).map(g=>[g.entity,g.name]));r.labels.forEach(g=>f.set(g.entity,g.name)),a?.filter(g=>(g.probability??1)>=qt).forEach(g=>{f.set(g.entity.id,g.entity.name),h.set(g.entity.id,g.entity.description)}),f.delete(s.id);let w=[s.name,...f.values()],k=c?.text===r.text&&$.size?It(r.text,c.mentions.map(({start:g,end:S},_)=>({start:g,end:S,kind:$.has(_)?"meant":"other"}))):Dt(r.text,[s.name,...s.aliases]),C=[...f].slice(0,So);return $t(g=>{if(g.repeat)return!1;let S=C[Number(g.key)-1];if(["y","n","u"].includes(g.key))e(g.key);else if(g.key==="s")n();else if(g.key==="i")u(!0);else if(S)e("n",...S);else return!1;return!0}),i`<div class="single">
    <div class="stage"><button class="plain" aria-label=${o("detail.closely")} onClick=${()=>Gt(r)}>
      <${Et} src=${rt(r.id)} alt=${r.text?"":r.key} width=${r.width} height=${r.height} /></button></div>
    <div class="about">
      <h2 class="question">${o("verdict.ask",{name:i`<a href=${R(["entity",s.id])}>${s.name}</a>`})}</h2>
      ${s.description&&i`<p class="lead">${s.description}</p>`}
      ${r.text&&i`<blockquote class="caption">${k.map(g=>g.mark?i`<mark class=${g.mark}>${g.text}</mark>`:g.text)}</blockquote>`}
      ${y.length>0&&i`<p class="faint named-in">${o("single.namedIn",{kinds:y.join(", ")})}</p>`}
      <div class="verdicts" role="group" aria-label=${o("single.verdict")}>
        <button class="button yes" onClick=${()=>e("y")}><${P} name="check" />${o("single.yes")} <kbd>y</kbd></button>
        <button class="button no" onClick=${()=>e("n")}><${P} name="close" />${o("single.no")} <kbd>n</kbd></button>
        <button class="button" onClick=${()=>e("u")}><${P} name="question" />${o("single.unsure")} <kbd>u</kbd></button>
        <button class="button" onClick=${n}>${o("single.skip")} <kbd>s</kbd></button>
      </div>
      <section aria-label=${o("single.thisInstead")}><h3>${o("single.thisInstead")}</h3>
        <ul class="chips">${C.map(([g,S],_)=>i`<li key=${g}><span class="chip">
          <button type="button" class="chip-text" title=${h.get(g)} onClick=${()=>e("n",g,S)}><kbd>${_+1}</kbd> ${S}${w.indexOf(S)!==w.lastIndexOf(S)&&h.get(g)&&i` <span class="homonym">${h.get(g)}</span>`}</button></span></li>`)}
          ${!d&&i`<li key="another"><span class="chip"><button type="button" class="chip-text" onClick=${()=>u(!0)}>
            <kbd>i</kbd> ${o("single.another")}</button></span></li>`}</ul>
        ${d&&i`<div class="instead"><${jt} label=${o("single.instead")} placeholder=${o("entityName")} focused
          onEntity=${g=>e("n",g.id,g.name)} /></div>`}</section>
      ${m.length>0&&i`<section aria-label=${o("single.evidence")}><h3>${o("single.near",{name:s.name})}</h3>
        <div class="evidence">${m.map(([g,S])=>i`<span key=${g.id} class="small-image" title=${o("single.similarity",{value:wt(S,Mo)})}>
          <${ot} image=${g} /></span>`)}</div></section>`}
    </div>
  </div>`}function Co(){let{rest:[t="",e=""]}=Y.value;A(()=>kt(e),[e]);let n=pt.value[e]??e;if(Ae.value.has(e))return i`<h1 class="unseen">${o("view.review")}</h1><${H} title=${o("review.unknown",{entity:e})}>
    <p><a href="#/review">${o("review.another")}</a></p><//>`;if(t&&!["grid","single","history"].includes(t))return i`<h1 class="unseen">${o("view.review")}</h1><${H} title=${o("app.noView")}>
    <p><a href="#/review">${o("review.back")}</a></p><//>`;let r=t==="grid"&&e;return i`
    <header class="review-head">
      <div>
        <h1>${r?n:t==="single"?e?n:o("review.single"):o(t==="history"?"review.history":"view.review")}</h1>
        ${t!=="single"&&i`<p class="lead">${o(r?"review.gridLead":t==="history"?"review.historyLead":"review.lead")}</p>`}
      </div>
      <div class="review-tools">
        <${Te} />
        ${t&&i`<nav aria-label=${o("review.ways")} class="actions">
          ${r?i`<a class="button" href=${R(["review","single",e])}>${o("review.oneByOne")}</a>`:e&&i`<a class="button" href=${R(["review","grid",e])}>${o("review.asGrid")}</a>`}
          <a class="button" href="#/review">${o("review.others")}</a></nav>`}
      </div>
    </header>
    <${rn} entity=${e} />
    ${r?i`<${on} key=${e} entity=${e} name=${n} />`:t==="history"?i`<${tn} />`:t==="single"?i`<${an} key=${e} entity=${e} />`:i`<p class="actions"><a class="button main" href="#/review/single">${o("review.judge")}</a>
            <a class="button" href="#/review/history">${o("review.history")}</a>
            <a class="button" href="api/verdicts.parquet" download>${o("review.parquet")}</a></p>
          <h2>${o("view.entities")}</h2>
          <${fe} path=${["review"]} target=${s=>R(["review","grid",s.id])}
            tail=${s=>o("labels",{count:s.images})} />`}`}export{Ct as Detail,Cn as Entities,Ln as Entity,bn as ExampleDialog,Mn as Images,ao as MapView,Sn as Rail,Co as Review};
