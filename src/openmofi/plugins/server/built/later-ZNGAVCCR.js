import{$ as vt,A as Y,C as N,D as st,E as Lt,H as Ae,J as ce,K as _,L as G,N as j,O as H,P as W,Q as Pt,R as q,S as mt,T as Nt,U as lt,V as _t,W as Dt,X as $t,Y as Ce,Z as it,_ as Oe,aa as It,b as v,ba as xt,c as C,ca as Ft,d as xe,da as et,e as F,ea as Te,f as le,fa as jt,ga as ue,h as i,ha as Bt,ia as ft,j as dt,ja as nt,k as wt,ka as Ut,l as o,la as Mt,m as Ee,ma as Re,na as ht,oa as Wt,p as P,pa as Le,q as Se,r as rt,ra as Kt,sa as Pe,ta as Ne,u as pt,v as Me,y as at,z as kt}from"./chunk-Q2Q2DC7Y.js";async function Ht(t){let{default:e}=await import("./photoswipe.esm-5BWHUGVW.js"),{width:n,height:r}=t.width?t:{width:1600,height:1200};new e({dataSource:[{src:rt(t.id),msrc:Se(t),width:n,height:r,alt:lt(t)}],appendToEl:document.querySelector("dialog[open]")??document.body,showHideAnimationType:"none",bgOpacity:.94,zoom:!0,arrowKeys:!1,maxZoomLevel:8,closeTitle:o("close"),zoomTitle:o("closely.zoom"),errorMsg:o("closely.failed")}).init()}var cn=3,_e={below_threshold:"why.threshold",sibling_preferred:"why.sibling",beyond_top_k:"why.beyond"};function un(t,e,n){let r=new Map(t.labels.map(a=>[a.entity,{...a,candidate:null}]));for(let a of e?.candidates??[]){let l=r.get(a.entity)??{...a,candidate:null};r.set(a.entity,{...l,candidate:l.candidate??a})}for(let[a,l]of n)r.has(a)||r.set(a,{entity:a,name:pt.value[a]??a,probability:null,by:l.who});let s=a=>a.accepted||a.probability===null?1:0;return[...r.values()].sort((a,l)=>s(l)-s(a)||(l.probability??0)-(a.probability??0))}function dn(t,e){let{prior:n,link_score:r,image_score:s,reason:a}=t,l=e.mentions[t.mention],c=[n!==null&&o("why.prior",{share:q(n)}),r!==null&&r>=0&&r<=1&&o("why.link",{share:q(r)})].filter(Boolean).join(", "),p=e.candidates.filter($=>$.image_score!==null),d=p.filter($=>$.mention===t.mention),u=d.length>1?d:p,m=u.reduce(($,y)=>y.image_score>$.image_score?y:$,t),b=s!==null&&u.length>1&&(m.entity===t.entity?o("why.closest",{count:u.length}):o("why.closer",{name:m.name}));return[l&&`${o("why.quoted",{text:l.surface})}${l.kind?` (${l.kind})`:""} ${c}`.trim(),b,Object.hasOwn(_e,a)&&o(_e[a])].filter(Boolean).join("; ")}function De({image:t,reading:e,verdicts:n}){let[r,s]=v(!1),[a,l]=v(!1),c=un(t,e,n.said),p=c.filter((u,m)=>r||m<cn||u.accepted||n.said.has(u.entity));C(()=>{n.said.forEach((u,m)=>{c.some(b=>b.entity===m&&b.candidate)||kt(m)})},[n.said]);let d=u=>{l(!1),at([u]),n.give(u,"y",!1)};return i`<section aria-label=${o("labels.title")}><h3>${o("labels.title")}</h3>
    ${n.error&&i`<${j} error=${n.error} />`}
    <ul class="label-list">${p.map(u=>i`<li key=${u.entity} class=${u.accepted||u.probability===null?"":"candidate"}>
      <div class="recognised"><a href=${N(["entity",u.entity])} title=${u.description}>${u.name}</a>
        ${u.probability===null?i`<span class="faint">${u.by?o("labels.saidBy",{name:u.by}):o("labels.saidByPerson")}</span>`:i`<${ft} value=${u.probability} />`}
        <${jt} entity=${{id:u.entity,name:u.name}} verdicts=${n} /></div>
      ${u.candidate&&i`<p class="faint">${dn(u.candidate,e)}</p>`}</li>`)}</ul>
    ${!c.length&&i`<p class="faint">${o("labels.none")}</p>`}
    <p class="actions">
      ${c.length>p.length&&i`<button class="link" onClick=${()=>s(!0)}>${o("labels.more",{count:c.length-p.length})}</button>`}
      ${!a&&i`<button class="button small" onClick=${()=>l(!0)}><${_} name="plus" />${o("labels.add")}</button>`}</p>
    ${a&&i`<${Ft} label=${o("labels.also")} placeholder=${o("entityName")} focused onEntity=${d} />`}
  </section>`}function Et({src:t,alt:e,width:n=0,height:r=0,children:s}){let[a,l]=v(r?n/r:0),[c,p]=v(!1);return c?i`<p class="faint">${o("large.gone")}</p>`:i`<div class="large" style=${a?{"--ratio":String(a)}:{}}>
    <img src=${t} alt=${e} draggable=${!1} onError=${()=>p(!0)}
      onLoad=${d=>l(d.currentTarget.naturalWidth/d.currentTarget.naturalHeight)} />
    ${s}
  </div>`}var Gt=.01;function qt({image:t,upload:e,region:n,verdicts:r}){let[s,a]=v(null),[l,c]=v(null),[p,d]=v(0),[u,m]=v(!1);if(C(()=>{let y=!0;return a(null),c(null),(t===void 0?P.recogniseUpload(e,n):P.recogniseImage(t,n)).then(h=>y&&a(h),h=>y&&c(h)),()=>{y=!1}},[t,e,n?.join(),p]),l)return i`<${j} error=${l} retry=${()=>d(p+1)} />`;if(!s)return i`<${W} what=${o("wait.recognising")} />`;let b=s.entities.filter(({probability:y},h)=>u||!h||(y??1)>=Gt),$=s.entities.length-b.length;return i`<section class="recognition" aria-label=${o("recognition.title")}>
    ${s.note&&i`<p class="note">${s.note}</p>`}
    ${s.uncalibrated&&i`<p class="faint why">${s.uncalibrated}</p>`}
    <ol>${b.map(y=>i`<li key=${y.entity.id}>
      <div class="recognised">
        <a href=${N(["entity",y.entity.id])}>${y.entity.name}</a>
        <${ft} value=${y.probability} />
        ${r&&i`<${jt} entity=${y.entity} verdicts=${r} />`}
      </div>
      ${y.entity.description&&i`<p class="faint">${y.entity.description}</p>`}
      ${y.evidence.length>0&&i`<div class="evidence" role="group" aria-label=${o("recognition.near",{name:y.entity.name})}>
        ${y.evidence.map(([h])=>i`<span key=${h.id} class="small-image">
          <${nt} image=${h} /></span>`)}</div>`}
      ${y.siblings.length>0&&i`<p class="faint">${o("recognition.or",{names:y.siblings.map((h,f)=>i`${f?", ":""}
        <a href=${N(["entity",h.id])} title=${h.description}>${h.name}</a>`)})}</p>`}
    </li>`)}</ol>
    ${$>0&&i`<p><button class="link" onClick=${()=>m(!0)}>${o("recognition.fewer",{count:$,share:q(Gt)})}</button></p>`}
    ${s.unnamed!==null&&i`<div class="recognised none">
      <span>${o("recognition.none")}</span>
      <${ft} value=${s.unnamed} />
    </div>`}
  </section>`}var Vt=.02,zt=.04,ct=(t,e,n)=>Math.min(n,Math.max(e,t)),Ie=t=>ct(Number(t.toFixed(4)),0,1),Fe=([t,e,n,r])=>o("region.where",{left:q(t),right:q(n),top:q(e),bottom:q(r)});function Yt({region:t,onRegion:e,onDone:n}){let r=F(null),s=F(null),[a,l,c,p]=t??[.25,.25,.75,.75],d=$=>{let y=r.current.getBoundingClientRect();return[ct(($.clientX-y.left)/y.width,0,1),ct(($.clientY-y.top)/y.height,0,1)]},u=$=>{if(!s.current)return;let[y,h]=d($),[f,w]=s.current,k=[Math.min(y,f),Math.min(h,w),Math.max(y,f),Math.max(h,w)];k[2]-k[0]>=zt&&k[3]-k[1]>=zt&&e(k.map(Ie))},m=$=>{let[y,h]={ArrowLeft:[-Vt,0],ArrowRight:[Vt,0],ArrowUp:[0,-Vt],ArrowDown:[0,Vt]}[$.key]??[];if($.key==="Enter"&&($.preventDefault(),n([a,l,c,p])),y===void 0)return;$.preventDefault();let f=$.shiftKey?[a,l,ct(c+y,a+zt,1),ct(p+h,l+zt,1)]:[a+ct(y,-a,1-c),l+ct(h,-l,1-p),c+ct(y,-a,1-c),p+ct(h,-l,1-p)];e(f.map(Ie)),G(Fe(f))},b=()=>{s.current=null};return i`<div class="region-frame" ref=${r}
      onPointerDown=${$=>{$.preventDefault(),$.currentTarget.setPointerCapture($.pointerId),s.current=d($)}}
      onPointerMove=${u} onPointerUp=${b} onPointerCancel=${b}>
    <div class="region" role="application" tabindex="0" aria-roledescription=${o("region.role")}
      aria-label=${o("region.name",{where:Fe([a,l,c,p])})}
      onKeyDown=${m}
      style=${{left:`${a*100}%`,top:`${l*100}%`,width:`${(c-a)*100}%`,height:`${(p-l)*100}%`}} />
  </div>`}var Xt=t=>t?.image??t;function pn(t,e){for(let n=0;n<t.total;n+=1)if(Xt(t.at(n))?.id===e)return n;return-1}function mn(t,e){let n=ue.value?.list,r=F({id:0,place:-1}),[s,a]=v(-1);n&&(r.current.id!==t||r.current.place<0)&&(r.current={id:t,place:pn(n,t)});let{place:l}=r.current,c=n&&l>=0?[l-1,l+1].filter(m=>m>=0&&m<n.total):[],p=c.map(m=>Xt(n.at(m))?.id).join();C(()=>{c.some(m=>!n.at(m))&&n.look(Math.max(0,l-1),l+2);for(let m of c)n.at(m)&&(new Image().src=rt(Xt(n.at(m)).id))},[l,p]);let d=s>=0&&Xt(n?.at(s));return C(()=>{d&&(r.current={id:d.id,place:s},a(-1),e(d))},[d]),{step:m=>{c.includes(l+m)&&a(l+m)},place:l,total:n?.total??0,can:m=>c.includes(l+m)}}function At({id:t,known:e,onClose:n,onSearch:r,onStep:s}){let[a,l]=v({id:0}),[c,p]=v(!1),{step:d,place:u,total:m,can:b}=mn(t,s),$=F(u),y=F(-1),h=e??(a.id===t?a.image:null),f=a.id===t?a.error:null;C(()=>{e||P.image(t).then(g=>l({id:t,image:g}),g=>l({id:t,error:g}))},[t]),$t(g=>{if(document.querySelector(".pswp"))return!1;if(g.key==="?")p(!c);else if(g.key==="ArrowLeft"||g.key==="ArrowRight")d(g.key==="ArrowLeft"?-1:1);else return!1;return!0},{inDialog:!0});let w=()=>{y.current=u>=0&&u!==$.current?u:-1,n()};C(()=>()=>{y.current>=0&&setTimeout(()=>ue.value?.move(y.current))},[]);let k=(g,M,R)=>i`<button class="round" aria-label=${M} title=${M} disabled=${!b(g)}
    onClick=${()=>d(g)}><${_} name=${R} /></button>`,A=i`<div class="steps">
    ${u>=0&&i`${k(-1,o("detail.previous"),"left")}
      <span class="figure" role="status">${o("detail.place",{place:u+1,total:m})}</span>${k(1,o("detail.next"),"right")}`}
    <button class="round wide-only" aria-label=${o("detail.keys")} title=${o("detail.keys")} aria-expanded=${c} onClick=${()=>p(!c)}><${_} name="keys" /></button></div>`;return i`<${Pt} title=${h?lt(h):o("detail.image")} kind="wide" tools=${A} onClose=${w}>
    ${c&&i`<p class="keys">${o("detail.keysHelp",{left:i`<kbd>←</kbd>`,right:i`<kbd>→</kbd>`,tab:i`<kbd>Tab</kbd>`,help:i`<kbd>?</kbd>`,escape:i`<kbd>Esc</kbd>`})}</p>`}
    ${f?i`<${j} error=${f} />`:h?i`<${$n} key=${t} image=${h} onSearch=${r} />`:i`<${W} />`}
  <//>`}function $n({image:t,onSearch:e}){let{id:n}=t,[r,s]=v(!1),[a,l]=v(null),[c,p]=v(!1),[d,u]=v(null),m=Te(t);C(()=>{let y=!0;return P.reading(n).then(h=>y&&u(h),()=>{}),()=>{y=!1}},[]);let b=r?a??[.25,.25,.75,.75]:null,$=()=>e({image:n,weight:1,region:b});return i`<div class="detail">
    <div class="stage">
      <${Et} src=${rt(n)} alt=${lt(t)} width=${t.width} height=${t.height}>
        ${r&&i`<${Yt} region=${a} onRegion=${l} onDone=${$} />`}<//>
    </div>
    <div class="about">
      <div class="actions">
        <button class="button main" onClick=${$}><${_} name="search" />
          ${r?o("region.search"):o("detail.like")}</button>
        <button class="button" onClick=${()=>s(!r)}>
          <${_} name="crop" />${r?o("region.whole"):o("region.select")}</button>
        <button class="button" onClick=${()=>Ht(t)}><${_} name="closer" />${o("detail.closely")}</button>
        <button class="button" aria-pressed=${c} onClick=${()=>p(!c)}>
          <${_} name="tag" />${o("detail.recognise")}</button>
        <a class="button" href=${rt(n)} download><${_} name="download" />${o("detail.download")}</a>
      </div>
      ${r&&i`<p class="faint">${o("region.help")}</p>`}
      ${c&&i`<${qt} image=${n} region=${b} verdicts=${m} />`}
      <${De} image=${t} reading=${d} verdicts=${m} />
      ${t.text.trim()&&i`<${fn} image=${t} reading=${d} />`}
      <${hn} image=${t} />
    </div>
  </div>`}function fn({image:t,reading:e}){let n=new Set(e?.candidates.filter(({accepted:c})=>c).map(({mention:c})=>c)),r=e?.text===t.text?e.mentions:[],s=r.length?Dt(t.text,r.map(({start:c,end:p},d)=>({start:c,end:p,kind:String(d)}))):_t(t.text,t.labels.filter(({accepted:c})=>c).map(({name:c})=>c)),a=({text:c,mark:p})=>{let{kind:d="",detector:u="",reason:m=""}=r[p]??{};return p?i`<mark class=${!r.length||n.has(Number(p))?"meant":"other"}
      title=${[d,u,m].filter(Boolean).join(" · ")}>${c}</mark>`:c},l=[...new Set(r.map(({kind:c})=>c).filter(Boolean))];return i`<section aria-label=${o("detail.text")}><h3>${o("detail.text")}</h3>
    <blockquote class="caption" tabindex="0">${s.map(a)}</blockquote>
    ${l.length>0&&i`<p class="faint named-in">${o("detail.namesIn",{kinds:l.join(", ")})}</p>`}</section>`}function hn({image:t}){let e=Object.entries(t.columns).filter(([,n])=>n!==null&&n!=="");return i`<dl class="facts">
    ${t.width>0&&i`<dt>${o("detail.size")}</dt><dd>${t.width} × ${t.height}</dd>`}
    <dt>${o("detail.file")}</dt><dd>${t.path||`${t.shard} · ${t.key}`}</dd>
    ${/^https?:\/\//.test(t.url)&&i`<dt>${o("detail.from")}</dt><dd><a href=${t.url} rel="noreferrer noopener" target="_blank">${t.url}</a></dd>`}
    ${e.map(([n,r])=>i`<dt>${n}</dt><dd>${String(r)}</dd>`)}
  </dl>`}function yn({example:t,src:e,name:n,onClose:r,onRegion:s}){let[a,l]=v(t.region),[c,p]=v(!1),d=t.upload?e:rt(t.image);return i`<${Pt} title=${o("example.part",{name:n})} kind="wide" onClose=${r}>
    <div class="detail">
      <div class="stage">${d?i`<${Et} src=${d} alt=${n}>
          <${Yt} region=${a} onRegion=${l} onDone=${s} /><//>`:i`<p class="faint">${o("example.lost")}</p>`}</div>
      <div class="about">
        <p class="faint">${o("region.help")}</p>
        <div class="actions">
          <button class="button main" disabled=${!a} onClick=${()=>s(a)}>
            <${_} name="crop" />${o("region.search")}</button>
          <button class="button" disabled=${!t.region} onClick=${()=>s(null)}>${o("region.whole")}</button>
          <button class="button" aria-pressed=${c} onClick=${()=>p(!c)}>
            <${_} name="tag" />${o("detail.recognise")}</button>
        </div>
        ${c&&i`<${qt} image=${t.image} upload=${t.upload} region=${a} />`}
      </div>
    </div>
  <//>`}var gn=6,bn=new Set(["date","licence","license"]),wn={month:"long",year:"numeric",timeZone:"UTC"},kn={type:({value:t,name:e})=>e===t?mt(t):e,verdict:({value:t})=>et(t),folder:({value:t})=>t.split("/").pop(),date:({value:t})=>t.length>4?wt(new Date(`${t}-01`),wn):t};function vn(t){let[e,n]=t.split("-").map(Number);return[new Date(Date.UTC(e,n?n-1:0)),new Date(Date.UTC(e,n||12,0))].map(r=>r.toISOString().slice(0,10))}function xn({query:t,columns:e,onFilters:n}){let[r,s]=v(null),[a,l]=v(null),{filters:c}=t,p={...Wt(t),order:""};C(()=>{let f=new AbortController;return l(null),P.facets(p,f.signal).then(w=>{at((w.values.entity??[]).map(({value:k,name:A})=>({id:k,name:A}))),s(w)},w=>{w.name!=="AbortError"&&l(w)}),()=>f.abort()},[JSON.stringify(p),vt.value]);let d=f=>n({...c,...f}),u=(f,w,k={})=>i`<label class="field"><span>${w}</span>
    <${Ce} value=${c[f]??""} ...${k} onValue=${A=>d({[f]:A})} /></label>`,m=f=>(r?.values[f]??[]).map(w=>({...w,name:(kn[f]??(()=>w.name))(w)})).filter(w=>w.name),b=(f,w=k=>({[f]:k}))=>i`<ul class="facet-values">
    ${m(f).map(({value:k,name:A,images:g})=>i`<li key=${k}>
      <button type="button" class="facet-value" title=${k} onClick=${()=>d(w(k))}><span>${A}</span>
        <span class="figure">${dt(g)}<span class="unseen"> ${o("rail.images",{count:g})}</span></span></button></li>`)}</ul>`,$=(f,w,k)=>(c[f]||m(f).length>0)&&i`<section><h2>${w}</h2>
    ${c[f]?i`<button type="button" class="facet-value" aria-pressed="true" onClick=${()=>d({[f]:""})}>
        <span>${k}</span><${_} name="close" /></button>`:b(f)}</section>`,y=Number(c.min_probability??0),h=new Map(m("min_probability").map(({value:f,images:w})=>[Number(f),w]));return i`<div id="filters" class="rail" role="group" aria-label=${o("filters")}>
    ${a&&i`<${j} error=${a} />`}
    ${r?i`<p class="faint">${o(r.ranked?"rail.best":"rail.all",{count:r.images})}</p>`:!a&&i`<${W} what=${o("wait.counting")} />`}
    ${$("type",o("type"),mt(c.type??"")||c.type)}
    ${$("entity",o("view.entity"),pt.value[c.entity]??c.entity)}
    <section><label class="field"><span>${o("rail.least")}</span>
      <select value=${String(y)} onChange=${f=>d({min_probability:f.currentTarget.value})}>
        ${[0,.5,.8,.9,.95].map(f=>i`<option value=${String(f)} selected=${f===y}>
          ${f?`${Math.round(f*100)} %`:o("rail.any")}${h.has(f)?` · ${dt(h.get(f))}`:""}</option>`)}
      </select></label></section>
    ${$("verdict",o("rail.verdict"),et(c.verdict))}
    <section>${u("folder",o("rail.folder"),{placeholder:"/photos/2024"})}${b("folder")}</section>
    ${e.includes("date")&&i`<section>${u("since",o("rail.since"),{type:"date"})}${u("until",o("rail.until"),{type:"date"})}
      ${b("date",f=>{let[w,k]=vn(f);return{since:w,until:k}})}</section>`}
    ${e.some(f=>f==="licence"||f==="license")&&i`<section>
      ${u("licence",o("rail.licence"),{placeholder:"cc-by*"})}${b("licence")}</section>`}
    ${e.filter(f=>!bn.has(f)).slice(0,gn).map(f=>i`<section key=${f}>
      ${u(`column.${f}`,f)}${b(`column.${f}`)}</section>`)}
  </div>`}function de({ids:t,picked:e=!1,onOpen:n}){let r=Kt(async(s,a,l)=>{let c=t.slice(s,s+a),p=new Map(c.length?(await P.images(c,l)).map(d=>[d.id,d]):[]);return{items:c.map(d=>p.get(d)??{id:d,key:o("chosen.gone"),text:"",labels:[]}),total:t.length}},"");return r.error?i`<${j} error=${r.error} retry=${()=>r.retry()} />`:r.total===null?i`<${W} />`:i`<${Bt} label=${o("chosen.title")} list=${r} picked=${e?t:[]}
    tile=${(s,a,l)=>i`<${Ut} image=${s} active=${l} onOpen=${()=>n(s)}>
      <p class="tile-label faint">${s.labels.find(c=>c.accepted)?.name}</p><//>`} />`}function pe(t){let[e,n]=v(null),{params:r}=Y.value,s=Number(r.get("show"))||0,a=p=>{let d=new URLSearchParams(Y.value.params);return p?d.set("show",String(p)):d.delete("show"),N(t,d)},l=(p,d=null,u=!1)=>{n(d),st(a(p),u)},c=s>0&&i`<${At} id=${s} known=${e?.id===s?e:null}
    onClose=${()=>Lt(a(0))} onStep=${p=>l(p.id,p,!0)}
    onSearch=${p=>st(N(["search"],ht({...Mt,examples:[p]})))} />`;return{open:l,detail:c}}function En(){let t=Y.value.params.get("ids")??"",e=[...new Set(t.split(",").map(Number).filter(s=>Number.isInteger(s)&&s>0))],{open:n,detail:r}=pe(["images"]);return i`<h1>${o("images",{count:e.length})}</h1>
    ${e.length?i`<${de} key=${t} ids=${e} onOpen=${s=>n(s.id,s)} />`:i`<${H} title=${o("chosen.none")}><p><a href="#/search">${o("app.toSearch")}</a></p><//>`}
    ${r}`}var Ct=60,Sn=150;function me({path:t,target:e,tail:n}){let{params:r}=Y.value,s=r.get("prefix")??"",a=r.get("type")??"",[l,c]=v(null),[p,d]=v(!1),[u,m]=v(null),[b,$]=v(0),y=f=>{let w=Object.fromEntries(Object.entries({prefix:s,type:a,...f}).filter(([,k])=>k));st(N(t,w),!0)};C(()=>{let f=new AbortController,w=setTimeout(async()=>{try{let k=await P.entities({prefix:s,type:a,limit:Ct},f.signal);at(k),c(k),d(k.length===Ct),m(null),(s||a)&&G(o(k.length===Ct?"entities.least":"entities",{count:k.length}))}catch(k){k.name!=="AbortError"&&m(k)}},l?Sn:0);return()=>{clearTimeout(w),f.abort()}},[s,a,b]);let h=async()=>{try{let f=await P.entities({prefix:s,type:a,limit:Ct,offset:l.length});at(f),c([...l,...f]),d(f.length===Ct)}catch(f){m(f)}};return i`
    <form class="entity-filters" role="search" onSubmit=${f=>f.preventDefault()}>
      <label class="field"><span>${o("entities.prefix")}</span><input type="text" value=${s} autocomplete="off"
        onInput=${f=>y({prefix:f.currentTarget.value})} /></label>
      <label class="field"><span>${o("type")}</span><input type="text" value=${a} autocomplete="off"
        onInput=${f=>y({type:f.currentTarget.value})} /></label>
    </form>
    ${u&&i`<${j} error=${u} retry=${()=>$(b+1)} />`}
    ${!l&&!u&&i`<${W} />`}
    ${l?.length===0&&(s||a?i`<${H} title=${o("entities.unknown")}>
        <p>${o("entities.unknownHint")}</p><//>`:i`<${H} title=${o("entities.none")}>
        <p>${o("entities.noneHint")}</p><//>`)}
    <ul class="entity-list">${l?.map(f=>i`<li key=${f.id}>
      <a class="entity-card" href=${e(f)}>
        <strong>${f.name}</strong>
        <span class="faint">${Nt(f)}</span>
        <span class="figure">${n?n(f):o("images",{count:f.images})}</span>
      </a></li>`)}</ul>
    ${p&&i`<p class="center"><button class="button" onClick=${h}>${o("more")}</button></p>`}`}function Mn(){return i`<h1>${o("view.entities")}</h1>
    <${me} path=${["entities"]} target=${t=>N(["entity",t.id])} />`}var An=12,Cn=[["labels","entity.kindLabels"],["candidates","entity.kindBelow"],["all","entity.kindAll"]],On=[["sure","entity.sure"],["doubt","entity.doubt"]];function Tn(){let{rest:[t=""],params:e}=Y.value,[n,r]=v(null),[s,a]=v(null),[l,c]=v(null),[p,d]=v(0);return C(()=>{let u=!0;return P.entity(t).then(m=>{u&&(at([m]),r(m))},m=>u&&c(m)),P.similar(t).then(m=>u&&a(m),()=>{}),()=>{u=!1}},[t,p]),l?i`<h1 class="unseen">${o("view.entity")}</h1><${j} error=${l} retry=${()=>{c(null),d(p+1)}} />
    <p class="center"><a href="#/entities">${o("entity.all")}</a></p>`:n?i`
    <article class="entity">
      <header class="entity-head">
        <div>
          <h1>${n.name}</h1>
          ${n.description&&i`<p class="lead">${n.description}</p>`}
          <ul class="chips" aria-label=${o("types")}>
            ${n.types.filter(mt).map(u=>i`<li key=${u}><${Pe} href=${N(["entities"],{type:u})}>${mt(u)}<//></li>`)}
            <li><span class="faint">${n.id}</span></li>
          </ul>
          <${Rn} aliases=${n.aliases.filter(u=>u.toLowerCase()!==n.name.toLowerCase())} />
        </div>
        <div class="entity-side">
          <dl class="counts">
            <div><dt>${o("entity.named")}</dt><dd>${dt(n.named)} <span>${o("entity.texts",{count:n.named})}</span></dd></div>
            <div><dt>${o("entity.shown")}</dt><dd>${dt(n.images)} <span>${o("entity.images",{count:n.images})}</span></dd></div>
          </dl>
          <div class="actions">
            <a class="button main" href=${N(["search"],ht({...Mt,entity:t}))}><${_} name="search" />${o("entity.search")}</a>
            <a class="button" href=${N(["review","grid",t])}><${_} name="check" />${o("entity.review")}</a>
          </div>
        </div>
      </header>
      <${Ln} entity=${n} params=${e} />
      ${s?.length>0&&i`<section aria-labelledby="look-alikes"><h2 id="look-alikes">${o("entity.alike")}</h2>
        <ul class="entity-list">${s.map(u=>i`<li key=${u.id}>
          <a class="entity-card" href=${N(["entity",u.id])}><strong>${u.name}</strong>
            <span class="faint">${Nt(u)}</span>
            <span class="figure">${o("images",{count:u.images})}</span></a></li>`)}</ul></section>`}
    </article>`:i`<${W} />`}function Rn({aliases:t}){let[e,n]=v(!1);if(!t.length)return null;let r=e?t:t.slice(0,An);return i`<p class="aliases"><span class="faint">${o("entity.also")}</span> ${r.join(" · ")}
    ${t.length>r.length&&i` <button class="link" onClick=${()=>n(!0)}>${o("entity.more",{count:t.length-r.length})}</button>`}</p>`}function Ln({entity:t,params:e}){let n=e.get("show")??"labels",r=e.get("order")==="doubt"?"doubt":"sure",s=Number(e.get("image"))||0,[a,l]=v(null),c={labels:!0,candidates:!1}[n],p={labels:t.images,candidates:t.named-t.images}[n]??t.named,d=Kt(async($,y,h)=>({items:await P.entityImages(t.id,{order:r,accepted:c,limit:y,offset:$},h),total:p}),`${t.id} ${n} ${r} ${p} ${vt.value}`),u=($,y=!0)=>{let h=new URLSearchParams(e);Object.entries($).forEach(([f,w])=>w?h.set(f,w):h.delete(f)),st(N(["entity",t.id],h),y)},m=()=>{let $=new URLSearchParams(e);$.delete("image"),Lt(N(["entity",t.id],$))},b=($,y,h,f,w)=>i`<${Ne} legend=${$} name=${y} value=${f}
    options=${h.map(([k,A])=>[k,o(A)])} onChange=${k=>u({[y]:k===w?"":k})} />`;return i`<section aria-labelledby="images">
    <div class="results-head"><h2 id="images">${o("view.images")}</h2>
      ${b(o("entity.which"),"show",Cn,n,"labels")}${b(o("order"),"order",On,r,"sure")}</div>
    ${d.error?i`<${j} error=${d.error} retry=${()=>d.retry()} />`:d.total===null?i`<${W} />`:d.total?i`<${Bt} label=${o("entity.imagesOf",{name:t.name})} list=${d} entity=${t.id}
            tile=${($,y,h)=>i`<${Ut} image=${$.image} active=${h} kind=${$.accepted?"":"beyond"}
              about=${[o("tile.probability",{share:q($.probability)}),$.verdict&&o("tile.judged",{said:et($.verdict)})].filter(Boolean).join(", ")}
              onOpen=${()=>{l($.image),u({image:String($.image.id)},!1)}}>
              <div class="tile-row"><${ft} value=${$.probability} />
                ${$.verdict&&i`<span class=${`said ${$.verdict}`}>${et($.verdict)}</span>`}</div><//>`} />`:i`<${H} title=${o("entity.noImage")}>
          <p>${o(n==="labels"?"entity.unlabelled":"entity.noneOfKind")}</p><//>`}
    ${s>0&&i`<${At} id=${s} known=${a?.id===s?a:null}
      onClose=${m} onStep=${$=>{l($),u({image:String($.id)})}}
      onSearch=${$=>st(N(["search"],ht({...Mt,examples:[$]})))} />`}
  </section>`}var Ot=([t,e,n,r])=>({x:(t+n)/2,y:(e+r)/2,zoom:1});function fe({deepest:t},[e,n,r]){let s=65536/2**Math.min(e,t);return{left:n*s,top:r*s,side:s}}function je(t,e){let n=Math.floor(t.byteLength/17),r=0,s=a=>{let l=new a(t,r,n);return r+=l.byteLength,l};return{...e,images:s(Float64Array),x:s(Uint16Array),y:s(Uint16Array),area:s(Uint16Array),type:s(Uint8Array),probability:s(Uint8Array),verdict:s(Uint8Array)}}var ut=(t,{width:e,height:n,bounds:[r,s,a,l]})=>t.zoom*Math.min(Math.max(1,e-32)/Math.max(1,a-r),Math.max(1,n-32)/Math.max(1,l-s));function yt(t,e,n,r){let s=ut(t,e);return[t.x+(n-e.width/2)/s,t.y+(r-e.height/2)/s]}function gt(t,e,n,r){let s=ut(t,e);return[(n-t.x)*s+e.width/2,(r-t.y)*s+e.height/2]}var Qt=(t,e,n)=>Math.min(n,Math.max(e,t)),Zt=({x:t,y:e,zoom:n},[r,s,a,l])=>({x:Qt(t,r,a),y:Qt(e,s,l),zoom:Qt(n,1,4e3)});function Jt(t,e,n,[r,s],[a,l]){let[c,p]=yt(t,e,r,s),d=Qt(t.zoom*n,1,4e3),u=ut({...t,zoom:d},e);return Zt({x:c-(a-e.width/2)/u,y:p-(l-e.height/2)/u,zoom:d},e.bounds)}var Tt=(t,e,n,r=e.width/2,s=e.height/2)=>Jt(t,e,n,[r,s],[r,s]);function te(t,e){let[n,r]=yt(t,e,0,0),[s,a]=yt(t,e,e.width,e.height);return[[n,r],[s,r],[s,a],[n,a]]}function he(t,e,n,r){let[[s,a],,[l,c]]=te(e,n),p=t.tiles.filter(u=>{let m=fe(t,u);return m.left<=l&&m.top<=c&&m.left+m.side>=s&&m.top+m.side>=a}),d=[];for(let u=0,m=0;u<p.length&&m<r;){let b=u,$=0;for(;b<p.length&&p[b][0]===p[u][0];)$+=p[b++][3];let y=Math.min(1,(r-m)/$);for(;u<b;)d.push([p[u],Math.floor(p[u++][3]*y)]);m+=$}return d}function Be(t,e,n,r){let s=null,a=r*r;for(let[l,c]of t){if(e+r<l.left||n+r<l.top||e-r>l.left+l.side||n-r>l.top+l.side)continue;let p=l.side/65536;for(let d=0;d<c;d+=1){let u=(l.left+l.x[d]*p-e)**2+(l.top+l.y[d]*p-n)**2;u<=a&&([s,a]=[{tile:l,row:d},u])}}return s}var ee=(t,e)=>[t.left+t.x[e]*t.side/65536,t.top+t.y[e]*t.side/65536];function Ue(t,e,n){let r=!1;for(let s=0,a=t.length-1;s<t.length;a=s,s+=1){let[[l,c],[p,d]]=[t[s],t[a]];c>n!=d>n&&e<(p-l)*(n-c)/(d-c)+l&&(r=!r)}return r}var We=t=>t.split(",").map(Number),$e=t=>Number(t.toFixed(2));function Ke(t){let e=Math.max(1,Math.ceil(t.length/60));return t.filter((n,r)=>r%e===0).map(n=>n.map($e).join(",")).join(";")}function ne(t){let e=t.split(";").map(We),n=r=>r.length===2&&r.every(s=>Math.abs(s)<=1e6);return e.length>=3&&e.length<=500&&e.every(n)?e:null}function He(t,e){let n=[t.x,t.y,t.zoom].map($e).join();return n===Object.values(Ot(e)).map($e).join()?"":n}function ye(t,e){let[n,r,s,...a]=We(t);return t&&!a.length&&[n,r,s].every(Number.isFinite)?Zt({x:n,y:r,zoom:s},e):Ot(e)}var oe=8,Pn=`#version 300 es
in float x; in float y; in float shade;
uniform vec4 box; uniform vec4 colours[16]; uniform float size;
flat out vec3 colour;
void main() {
  vec4 own = colours[int(shade)];
  gl_Position = vec4(x * box.x + box.z, y * box.y + box.w, shade / 16.0, 1.0);
  gl_PointSize = size * own.a;
  colour = own.rgb;
}`,Nn=`#version 300 es
precision lowp float;
flat in vec3 colour; out vec4 painted;
void main() { painted = vec4(colour, 1.0); }`,_n=/swiftshader|llvmpipe|softpipe|software|basic render/i,Ge=null;function Dn(){let t=document.createElement("canvas").getContext("webgl2",{failIfMajorPerformanceCaveat:!0});if(!t)return!1;let e=t.getExtension("WEBGL_debug_renderer_info"),n=t.getParameter(e?e.UNMASKED_RENDERER_WEBGL:t.RENDERER);return t.getExtension("WEBGL_lose_context")?.loseContext(),!_n.test(n)}function ge(t){Ge??=Dn();let e=Ge&&t.getContext("webgl2",{antialias:!1,preserveDrawingBuffer:!0});return e?In(t,e):Fn(t)}function qe(t,{width:e,height:n}){let r=devicePixelRatio||1,[s,a]=[Math.round(e*r),Math.round(n*r)];return(t.width!==s||t.height!==a)&&([t.width,t.height]=[s,a]),r}function Ve(t,e){return Uint8Array.from(t.x,(n,r)=>e.shade(t,r))}function In(t,e){let n=e.createProgram();for(let[$,y]of[[e.VERTEX_SHADER,Pn],[e.FRAGMENT_SHADER,Nn]]){let h=e.createShader($);e.shaderSource(h,y),e.compileShader(h),e.attachShader(n,h)}e.linkProgram(n),e.useProgram(n),e.enable(e.DEPTH_TEST),e.depthFunc(e.LEQUAL);let[r,s,a]=["box","colours","size"].map($=>e.getUniformLocation(n,$)),l=new Map,c=new Set,p=null,d=1,u=($,y,h,f)=>{let w=e.createBuffer(),k=e.getAttribLocation(n,$);return e.bindBuffer(e.ARRAY_BUFFER,w),e.bufferData(e.ARRAY_BUFFER,y,e.STATIC_DRAW),e.enableVertexAttribArray(k),e.vertexAttribPointer(k,1,h,f,0,0),w},m=({array:$,buffers:y})=>{e.deleteVertexArray($),y.forEach(h=>e.deleteBuffer(h))},b=$=>{c.add($);let y=l.get($);if(y?.key!==p.key){y&&m(y);let h=e.createVertexArray();e.bindVertexArray(h),y={array:h,key:p.key,buffers:[u("x",$.x,e.UNSIGNED_SHORT,!0),u("y",$.y,e.UNSIGNED_SHORT,!0),u("shade",Ve($,p),e.UNSIGNED_BYTE,!1)]},l.set($,y)}e.bindVertexArray(y.array)};return{clear($,y){for(let[h,f]of l)c.has(h)||(m(f),l.delete(h));c=new Set,p=y,d=qe(t,$),e.viewport(0,0,t.width,t.height),e.uniform4fv(s,p.colours.flat()),e.clear(e.COLOR_BUFFER_BIT|e.DEPTH_BUFFER_BIT)},draw($,y,h,f,w,k){b($);let[A,g]=gt(f,w,$.left,$.top),M=$.side*ut(f,w);e.uniform4f(r,2*M/w.width,-2*M/w.height,2*A/w.width-1,1-2*g/w.height),e.uniform1f(a,k*d),e.drawArrays(e.POINTS,y,h-y)},show(){}}}function Fn(t){let e=t.getContext("2d",{willReadFrequently:!0}),n=new WeakMap,r=null,s=1,a=null,l=null,c=null,p=null;return{clear(d,u){r=u,s=qe(t,d),(a?.width!==t.width||a.height!==t.height)&&(a=e.createImageData(t.width,t.height),l=new Uint32Array(a.data.buffer),c=new Uint8Array(l.length)),l.fill(0),c.fill(r.colours.length),p=r.colours.map(m=>new Uint32Array(Uint8Array.from([...m.slice(0,3).map(b=>Math.round(b*255)),255]).buffer)[0])},draw(d,u,m,b,$,y){n.get(d)?.key!==r.key&&n.set(d,{key:r.key,shades:Ve(d,r)});let{shades:h}=n.get(d),[f,w]=gt(b,$,d.left,d.top).map(R=>R*s),k=d.side*ut(b,$)*s/65536,A=r.colours.map(([,,,R])=>Math.max(1,Math.round(y*s*R))),{width:g,height:M}=a;for(let R=u;R<m;R+=1){let Q=h[R],B=A[Q],K=Math.round(f+d.x[R]*k-B/2),O=Math.round(w+d.y[R]*k-B/2);if(K+B<=0||O+B<=0||K>=g||O>=M)continue;let ot=Math.min(g,K+B);for(let Z=Math.max(0,O);Z<Math.min(M,O+B);Z+=1)for(let z=Z*g+Math.max(0,K),X=Z*g+ot;z<X;z+=1)Q>c[z]||(c[z]=Q,l[z]=p[Q])}},show(){e.putImageData(a,0,0)}}}var jn=4,Bn=6e5;function ze(t,e,n){let r=new Map,s=new Set,a=new AbortController,l=[],c=0,p=()=>{for(;s.size<jn&&l.length;){let d=l.shift(),u=d.slice(0,3).join("/");s.has(u)||r.has(u)||(s.add(u),P.mapTile(u,t.state,a.signal).then(m=>{r.set(u,je(m,fe(t,d))),c+=d[3],e()}).catch(m=>{a.signal.aborted||n(m)}).finally(()=>{s.delete(u),p()}))}};return{take(d){let u=[],m=[];for(let[b,$]of d){let y=b.slice(0,3).join("/"),h=r.get(y);if(!h){m.push(b);continue}r.delete(y),r.set(y,h),u.push([h,Math.min($,h.x.length)])}for(let[b,$]of r){if(c<=Bn||r.size<=u.length)break;r.delete(b),c-=$.x.length}return l=m,p(),u},close:()=>a.abort()}}var Un=.15,re=1.4,Wn=9,Kn=4,Hn=250,Gn=15e4,[qn,Vn]=[8e3,6e4],zn=20,Yn=300,Xn=64,se=3e4;function Qn(t){se=t>zn?Math.max(qn,se*.75):Math.min(Vn,se*1.03)}function Zn({painter:t,tiles:e,plane:n,frame:r,size:s,style:a,radius:l},c,p){let d=new Map,u=!0,m=0,b=$=>{requestAnimationFrame(k=>Qn(k-$));let y=Math.floor(se),h=y,f=(k,A)=>{let g=d.get(k)??0,M=Math.min(A,g+h);M<=g||(t.draw(k,g,M,r,s,l),d.set(k,M),h-=M-g)};if(u){t.clear(s,a);for(let[k,A]of e.take(he(n,r,s,y)))f(k,A);u=!1}let w=e.take(he(n,r,s,Gn));for(let[k,A]of w)h&&f(k,A);t.show(),c(y-h),m=0,w.some(([k,A])=>(d.get(k)??0)<A)?m=requestAnimationFrame(b):p(w)};return m=requestAnimationFrame(b),{stop:()=>cancelAnimationFrame(m),more:()=>{m||=requestAnimationFrame(b)}}}function Jn(t,e,n){let r=[],[[s,a],,[l,c]]=te(e,n);for(let[d,u]of t){let[m,b,$,y]=[s-d.left,l-d.left,a-d.top,c-d.top].map(h=>h*65536/d.side);for(let h=0;h<u;h+=1){if(d.x[h]<m||d.x[h]>b||d.y[h]<$||d.y[h]>y)continue;let f=ee(d,h),[w,k]=gt(e,n,...f);if(r.push({id:d.images[h],at:f,x:w,y:k,tile:d,row:h})>Yn)return[]}}let p=[];for(let d of r)p.every(({x:u,y:m})=>Math.max(Math.abs(u-d.x),Math.abs(m-d.y))>Xn)&&p.push(d);return p}function to(t,e,n){let r=[];return t.areas.forEach(({entities:s,type:a,x:l,y:c},p)=>{let d=s[0]||a,[u,m]=gt(e,n,l,c),b=Math.min(90,10+4*d.length);!d||u<b||m<56||u>n.width-b||m>n.height-14||r.every($=>Math.abs($.top-m)>24||Math.abs($.left-u)>$.half+b)&&r.push({place:p,name:d,left:u,top:m,half:b})}),r}function Ye({plane:t,tiles:e,turn:n,style:r,frame:s,onFrame:a,lasso:l,marked:c,onLasso:p,onOpen:d}){let u=F(null),m=F(null),b=F([]),$=F(null),[y,h]=v(!1),[f,w]=v(null),[k,A]=v(null),[g,M]=v([]),[R,Q]=v(null),B=F(null),K=F(new Map),O=()=>({width:u.current.clientWidth,height:u.current.clientHeight,bounds:t.bounds}),ot=Math.min(7,(t.images>2e4?2:t.images>2e3?3.6:6.4)*Math.sqrt(s.zoom));Ae.value;let Z=u.current&&r(u.current);xe(()=>{if(!R)return;m.current??=ge(u.current);let x=0,S=u.current;return $.current=Zn({painter:m.current,tiles:e,plane:t,frame:s,size:R,style:Z,radius:ot},L=>{S.dataset.marks=String(L)},L=>{b.current=L,S.dataset.drawn=String(L.reduce((T,[,V])=>T+V,0)),clearTimeout(x),x=setTimeout(()=>M(Jn(L,s,R)),Hn)}),()=>{$.current.stop(),clearTimeout(x)}},[t,e,s,Z?.key,R]),C(()=>$.current?.more(),[n]),C(()=>{let x=u.current,S=()=>Q(O());S();let L=new ResizeObserver(S);L.observe(x);let T=St=>{St.preventDefault();let[sn,an]=z(St);a(ln=>Tt(ln,O(),Math.exp(-St.deltaY/400),sn,an))},V=St=>St.preventDefault(),ve=()=>{m.current=ge(x),S()};return x.addEventListener("wheel",T,{passive:!1}),x.addEventListener("webglcontextlost",V),x.addEventListener("webglcontextrestored",ve),()=>{L.disconnect(),x.removeEventListener("wheel",T),x.removeEventListener("webglcontextlost",V),x.removeEventListener("webglcontextrestored",ve)}},[t]);let z=x=>{let S=u.current.getBoundingClientRect();return[x.clientX-S.left,x.clientY-S.top]},X=(x,S)=>Be(b.current,...yt(s,O(),x,S),Wn/ut(s,O())),tt=()=>{let[[x,S],[L,T]]=K.current.values();return{apart:Math.max(1,Math.hypot(x-L,S-T)),middle:[(x+L)/2,(S+T)/2]}},E=x=>{if(x.button)return;x.currentTarget.setPointerCapture(x.pointerId);let[S,L]=z(x);K.current.set(x.pointerId,[S,L]),A(null),w(null),K.current.size===2?B.current={frame:s,pinch:tt()}:K.current.size===1?B.current={x:S,y:L,frame:s,path:y||x.shiftKey?[yt(s,O(),S,L)]:null}:B.current=null},D=x=>{let[S,L]=z(x),T=B.current;if(K.current.has(x.pointerId)&&K.current.set(x.pointerId,[S,L]),T?.pinch){let V=tt();a(()=>Jt(T.frame,O(),V.apart/T.pinch.apart,T.pinch.middle,V.middle))}else if(T?.path)T.path.push(yt(s,O(),S,L)),w([...T.path]);else if(T)a(()=>Jt(T.frame,O(),1,[T.x,T.y],[S,L]));else{let V=x.pointerType==="mouse"?X(S,L):null;A(V&&{id:V.tile.images[V.row],x:S,y:L})}},U=()=>{K.current.clear(),B.current=null,w(null)},I=x=>{let S=B.current;if(U(),!S||S.pinch)return;let[L,T]=z(x),V=!S.path&&Math.hypot(L-S.x,T-S.y)<Kn&&X(L,T);S.path?.length>2?p(S.path):V&&d(V.tile.images[V.row])},J=x=>{let S={ArrowLeft:[-1,0],ArrowRight:[1,0],ArrowUp:[0,-1],ArrowDown:[0,1]}[x.key],L=Un*Math.min(O().width,O().height)/ut(s,O());if(!(x.altKey||x.ctrlKey||x.metaKey)){if(S)a(T=>Zt({...T,x:T.x+S[0]*L,y:T.y+S[1]*L},t.bounds));else if(x.key==="+"||x.key==="=")a(T=>Tt(T,O(),re));else if(x.key==="-")a(T=>Tt(T,O(),1/re));else if(x.key==="0"||x.key==="Home")a(()=>Ot(t.bounds));else if(x.key==="Enter")p(te(s,O()));else if(x.key==="Escape"&&B.current)U();else return;x.preventDefault()}},bt=(x,S,L)=>i`<button class="button" aria-label=${S} title=${S}
    onClick=${()=>{a(T=>x?Tt(T,O(),x):Ot(t.bounds)),G(S)}}>${L}</button>`,ie=x=>R&&gt(s,R,...x),ke=([x,S])=>({transform:`translate(${x}px, ${S}px)`}),ae=R&&(f??l)?.map(x=>ie(x).map(S=>S.toFixed(1)).join()).join(" ");return i`<div class="map-frame">
    <div class="map-tools" role="group" aria-label=${o("view.map")}>
      <button class="button" aria-pressed=${y} onClick=${()=>h(!y)}><${_} name="lasso" />${o("map.lasso")}</button>
      ${bt(re,o("map.zoomIn"),"+")}${bt(1/re,o("map.zoomOut"),"−")}${bt(0,o("map.showAll"),o("map.all"))}
    </div>
    <canvas ref=${u} class=${y?"drawing":""} tabindex="0" role="application" aria-roledescription=${o("map.role")}
      data-zoom=${s.zoom.toFixed(2)} data-centre=${`${Math.round(s.x)},${Math.round(s.y)}`}
      aria-label=${o("map.help")}
      onPointerDown=${E} onPointerMove=${D} onPointerUp=${I} onPointerCancel=${U}
      onPointerLeave=${()=>A(null)} onKeyDown=${J} />
    ${R&&i`<div class="map-over" aria-hidden="true">
      ${g.map(({id:x,at:S,tile:L,row:T})=>i`<div key=${x} class="map-image" style=${{...ke(ie(S)),borderColor:eo(Z,L,T)}}>
        <${nt} image=${{id:x}} /></div>`)}
      <svg>${ae&&i`<polygon class="lasso-edge" points=${ae} /><polygon points=${ae} />`}
        ${c.map(x=>{let[S,L]=ie(x);return i`<circle key=${x.join()} cx=${S} cy=${L} r="6" />`})}</svg>
      ${to(t,s,R).map(({place:x,name:S,left:L,top:T})=>i`<span key=${x} class="map-name"
        style=${ke([L,T])}><span>${S}</span></span>`)}
    </div>`}
    ${k&&i`<div class="map-near" style=${{left:`${k.x}px`,top:`${k.y}px`}}>
      <${nt} key=${k.id} image=${{id:k.id}} /></div>`}
  </div>`}function eo({colours:t,shade:e},n,r){return`rgb(${t[e(n,r)].slice(0,3).map(s=>s*255).join(" ")})`}var no=300,[oo,ro]=[500,100],Xe=[],so=.86;function io(){let[t,e]=v(null),[n,r]=v(null),[s,a]=v(0);C(()=>{let p=!0;return P.map().then(d=>p&&e(d),d=>p&&r(d)),()=>{p=!1}},[s]);let l=()=>{r(null),a(s+1)},c=p=>p instanceof Ee&&p.status===409?a(s+1):r(p);return i`<h1>${o("view.map")}</h1>${n?i`<${j} error=${n} retry=${l} />`:t?t.images?i`<${mo} plane=${t} onError=${c} />`:i`<${H} title=${o("map.none")}><p>${t.note}</p><//>`:i`<${W} />`}`}function ao(t){let{types:e}=t;return{"":{title:o("types"),of:(n,r)=>n.type[r],names:[...e.map(({type:n,images:r},s)=>[mt(n)||n,s+1,r]),[o("map.otherTypes"),0,t.other],[o("map.noLabel"),0,t.unlabelled]]},probability:{title:o("map.byProbability"),of:(n,r)=>{let s=(n.probability[r]-1)/254;return s<0?4:s>=.95?0:s>=.8?1:s>=.5?2:3},names:[[o("map.from95"),4],[o("map.from80"),2],[o("map.from50"),1],[o("map.below50"),6],[o("map.noLabel"),0]]},verdict:{title:o("map.byVerdict"),of:(n,r)=>(n.verdict[r]+3)%4,names:[[o("said.right"),4],[o("said.wrong"),6],[o("said.unsure"),3],[o("map.unjudged"),0]]}}}function lo(t,{names:e}){let n=getComputedStyle(t),r=l=>{let c=n.getPropertyValue(l).trim().slice(1).replace(/^(.)(.)(.)$/,"$1$1$2$2$3$3");return[0,2,4].map(p=>Number.parseInt(c.slice(p,p+2),16)/255)},s=r("--surface"),a=Array.from({length:oe},(l,c)=>[...r(e[c]?.[1]?`--map-${e[c][1]}`:"--map-rest"),c===e.length-1?.6:1]);return[...a,...a.map(([l,c,p,d])=>[...[l,c,p].map((u,m)=>u+(s[m]-u)*so),d])]}function co(t){let{params:e}=Y.value,n=e.get("at")??"",[r,s]=v(()=>ye(n,t.bounds)),a=F(n);C(()=>{n!==a.current&&(a.current=n,s(ye(n,t.bounds)))},[n]);let l=(c,p=!1)=>{let d=new URLSearchParams(Y.value.params);Object.entries(c).forEach(([u,m])=>m?d.set(u,m):d.delete(u)),st(N(["map"],d),p)};return C(()=>{let c=setTimeout(()=>{let p=He(r,t.bounds);p===a.current||Y.value.view!=="map"||(a.current=p,l({at:p},!0))},no);return()=>clearTimeout(c)},[r]),{params:e,frame:r,setFrame:s,set:l}}function uo(t,e,n,r){let[s,a]=v(null);return C(()=>{if(a(null),!e&&n===null)return;let l=new AbortController;return P.mapChosen(e?{lasso:ne(e)}:{area:n},l.signal).then(c=>{a(c),G(`${o("map.chosen",{count:c.total})}.`)},c=>{l.signal.aborted||r(c)}),()=>l.abort()},[t,e,n]),s}function po(t,e){let n=Le(t)?JSON.stringify(Wt(t)):"",[r,s]=v(Xe);return C(()=>{if(s(Xe),!n)return;let a=new AbortController;return(async()=>{let{hits:l,end:c}=await P.search({...JSON.parse(n),limit:oo},a.signal),p=l.slice(0,c||ro).map(({image:m})=>m.id),{x:d,y:u}=p.length?await P.mapPlaces(p,a.signal):{x:[],y:[]};s(d.map((m,b)=>[m,u[b]])),G(o("map.marked",{count:d.length}))})().catch(l=>{a.signal.aborted||e(l)}),()=>a.abort()},[n]),{asked:n,marked:r}}function mo({plane:t,onError:e}){let{params:n,frame:r,setFrame:s,set:a}=co(t),[l,c]=v(null),[p,d]=v(0),{open:u,detail:m}=pe(["map"]),b=ne(n.get("lasso")??"")?n.get("lasso"):"",$=le(()=>b?ne(b):null,[b]),y=n.has("area")?Number(n.get("area")):null,h=!b&&t.areas[y]?y:null,f=uo(t,b,h,e),w=Re(n),{asked:k,marked:A}=po(w,e);C(()=>{kt(w.entity)},[w.entity]);let g=w.text||pt.value[w.entity]||w.entity,M=le(()=>ze(t,()=>d(O=>O+1),e),[t]);C(()=>M.close,[M]);let R=ao(t),Q=n.get("colour")??"",B=Object.hasOwn(R,Q)?Q:"",K=O=>{let ot=lo(O,R[B]),{of:Z}=R[B],z=(X,tt,E)=>(l===null||l===E)&&(h===null||X.area[tt]===h)&&(!$||Ue($,...ee(X,tt)));return{key:[ot,B,l,h,b].join("|"),colours:ot,shade:(X,tt)=>{let E=Math.min(oe-1,Z(X,tt));return z(X,tt,E)?E:E+oe}}};return i`
    <p class="lead">${o("map.lead",{count:t.images})}${t.missing>0&&` ${o("map.missing",{count:t.missing})}`}</p>
    ${k&&i`<div class="results-head"><p>${o(g?"map.markedFor":"map.markedSearch",{what:g,images:i`<strong>${o("images",{count:A.length})}</strong>`})}</p>
      <button class="button" onClick=${()=>a(Object.fromEntries([...ht(w).keys()].map(O=>[O,""])))}>${o("map.markNone")}</button></div>`}
    <div class="map">
      <${Ye} plane=${t} tiles=${M} turn=${p} style=${K} frame=${r} onFrame=${s} lasso=${$} marked=${A}
        onLasso=${O=>a({lasso:Ke(O),area:""})} onOpen=${u} />
      <div class="map-side">
        <${$o} ways=${R} way=${B} bright=${l} onBright=${c}
          onWay=${O=>{c(null),a({colour:O},!0)}} />
        <${fo} plane=${t} area=${h} params=${n} />
      </div>
    </div>
    ${f&&i`<${ho} key=${`${b} ${h}`} chosen=${f}
      onOpen=${O=>u(O.id,O)} onNone=${()=>a({lasso:"",area:""})} />`}
    ${m}`}function $o({ways:t,way:e,bright:n,onBright:r,onWay:s}){let{names:a}=t[e];return i`<section aria-labelledby="legend"><h2 id="legend">${t[e].title}</h2>
    <label class="field inline"><span>${o("map.colours")}</span> <select value=${e} onChange=${l=>s(l.currentTarget.value)}>
      ${Object.entries(t).map(([l,{title:c}])=>i`<option key=${l} value=${l} selected=${l===e}>${c}</option>`)}</select></label>
    <ul class="legend">${a.map(([l,c,p],d)=>p!==0&&i`<li key=${l}>
      <button type="button" aria-pressed=${n===d} title=${o("map.standOut",{name:l})}
        onClick=${()=>r(n===d?null:d)}>
        <span class=${`swatch ${c?`of-${c}`:d===a.length-1?"small":""}`} />
        <span>${l}</span>${p!==void 0&&i` <span class="figure">${dt(p)}</span>`}</button></li>`)}</ul></section>`}function fo({plane:t,area:e,params:n}){let r=s=>{let a=new URLSearchParams(n);return a.delete("lasso"),s===e?a.delete("area"):a.set("area",String(s)),N(["map"],a)};return i`<section aria-labelledby="areas"><h2 id="areas">${o("map.areas")}</h2>
    <ol class="areas">${t.areas.map(({images:s,entities:a,type:l},c)=>i`<li key=${c}>
      <a href=${r(c)} aria-current=${c===e?"true":void 0}>
        <span>${a.join(", ")||l||o("map.area",{place:c+1})}</span> <span class="figure">${o("images",{count:s})}</span></a></li>`)}</ol>
  </section>`}function ho({chosen:{total:t,images:e},onOpen:n,onNone:r}){let s=F(null);return C(()=>{s.current.getBoundingClientRect().top>innerHeight-60&&s.current.scrollIntoView({block:"center"})},[]),i`<section aria-labelledby="chosen">
    <div class="results-head"><h2 id="chosen" ref=${s}>${o("map.chosen",{count:t})}</h2>
      <button class="button" onClick=${r}>${o("map.chooseNone")}</button></div>
    ${t>e.length&&i`<p class="note" role="note">${o("map.first",{count:e.length})}</p>`}
    ${t?i`<${de} ids=${e} picked onOpen=${n} />`:i`<${H} title=${o("map.empty")}><p>${o("map.emptyHint")}</p><//>`}
  </section>`}var Qe=50,yo={dateStyle:"medium",timeStyle:"short"};function Ze(){let t=it.value,[e,n]=v(null),[r,s]=v(!1),[a,l]=v(null),c=async m=>{l(null);try{await m()}catch(b){l(b)}},p=m=>c(async()=>{let b=await P.history({who:t,limit:Qe,offset:m.length});it.value===t&&(n([...m,...b]),s(b.length===Qe))});C(()=>{n(null),p([])},[t]);let d=m=>c(async()=>{await xt([m.verdict.id]),n(b=>b.filter($=>$!==m)),G(o("verdict.undone",{name:m.entity.name}))}),u=a&&i`<${j} error=${a} retry=${()=>p(e??[])} />`;return e?i`${u}
    ${e.length===0&&i`<${H} title=${o("history.none")}><p>${t?o("history.noneBy",{who:t}):o("history.noneUnnamed")}</p><//>`}
    <ol class="history" aria-label=${o("history.title")}>${e.map(m=>i`<${go} key=${m.verdict.id} row=${m} onUndo=${()=>d(m)} />`)}</ol>
    ${r&&i`<p class="center"><button class="button" onClick=${()=>p(e)}>${o("more")}</button></p>`}`:u||i`<${W} />`}function go({row:t,onUndo:e}){let{verdict:n,image:r,entity:s,instead:a}=t;return i`<li>
    <span class="small-image">${r&&i`<${nt} image=${r} />`}</span>
    <div><p><span class=${`said ${n.verdict}`}>${et(n.verdict)}</span> <a href=${N(["entity",s.id])}>${s.name}</a>${a&&o("history.instead",{name:i`<a href=${N(["entity",a.id])}>${a.name}</a>`})}</p>
      <p class="faint">${r?i`<a href=${N(["images"],{ids:r.id,show:r.id})}>${lt(r)}</a>`:o("history.gone",{place:`${n.shard} · ${n.key}`})}
        ${" · "}<time datetime=${n.when}>${wt(new Date(n.when),yo)}</time></p></div>
    <button class="button small" aria-label=${o("history.undo",{name:s.name,said:et(n.verdict)})} onClick=${e}><${_} name="undo" />${o("undo")}</button></li>`}var tn=150,be=8,bo=300;function wo(){let t=(document.querySelector("main")?.clientWidth??innerWidth)-(innerWidth>760?48:32),e=Math.max(2,Math.floor((t+be)/(ce(tn)+be)));return Math.min(60,e*Math.max(3,Math.floor((innerHeight-bo)/(t/e))))}var ko="agent:",Rt=null;async function vo(t,e,n,r){let s=new Map(e.map(({image:c})=>[`${c.shard} ${c.key}`,n[c.id]])),a=(await P.verdicts({entity:t})).filter(({id:c,who:p,shard:d,key:u})=>!r.includes(c)&&!p.startsWith(ko)&&s.has(`${d} ${u}`)),l=new Map(a.reverse().map(({shard:c,key:p,verdict:d})=>[`${c} ${p}`,d]));return l.size?{names:[...new Set(a.map(({who:c})=>c||o("reviewer.nameless")))].join(", "),count:l.size,otherwise:[...l].filter(([c,p])=>p!==s.get(c)).length}:null}var Je=({names:t,count:e,otherwise:n})=>o("pager.faster",{names:t,count:e,otherwise:n});function en({entity:t,name:e}){let[n,r]=v(null),[s,a]=v({}),[l,c]=v(null),[p,d]=v(!1),[u,m]=v(new Set),[b,$]=v([]),[y,h]=v(null),[f,w]=v(!1),[k,A]=v(0),g=F(null),M=F(null),R=async()=>{h(null);try{r(await P.review({entity:t,order:"doubt",accepted:!0,who:it.value,limit:wo()})),a({}),d(!1),A(0)}catch(E){h(E)}};C(()=>{let E=Rt?.entity===t&&Rt.who===it.value?Rt:null;Rt=null,E?(r(E.page),a(E.values),d(!0)):R()},[]);let Q=async()=>{if(!(f||!n?.length)){if([...g.current.querySelectorAll("img")].some(E=>!E.complete)){G(o("pager.early"));return}w(!0),h(null);try{let E=Object.fromEntries(n.map(({image:J})=>[J.id,K(J)])),D=await It(n.map(({image:J})=>({image:J,entity:t,value:E[J.id]}))),U=n.filter(({image:J})=>s[J.id]==="n").length;$([...b,{ids:D,page:n,values:s}]);let I=await vo(t,n,E,D).catch(()=>null);c(I),G(`${o("pager.taken",{count:n.length,wrong:U})}${I?` ${Je(I)}`:""}`),await R(),g.current?.querySelector("button")?.focus()}catch(E){E.status===401&&(Rt={entity:t,page:n,values:s,who:it.value}),h(E)}finally{w(!1)}}},B=async()=>{let E=b.at(-1);if(!(f||!E)){w(!0);try{await xt(E.ids),$(b.slice(0,-1)),c(null),r(E.page),a(E.values),G(o("pager.undone"))}catch(D){h(D)}finally{w(!1)}}},K=E=>s[E.id]??(u.has(E.id)?"u":"y"),O=(E,D)=>{let U=n[E]?.image.id;U!==void 0&&a(I=>({...I,[U]:D}))},ot=(E,D)=>{let{id:U}=n[E].image;a(I=>({...I,[U]:K({id:U})===D?"y":D}))};$t(E=>{if(E.key==="z")return B(),!0;if(!n?.length)return!1;let D=Math.max(1,Math.round(g.current.clientWidth/(g.current.firstElementChild.offsetWidth+be))),U={ArrowLeft:-1,ArrowRight:1,ArrowUp:-D,ArrowDown:D}[E.key],I=g.current.contains(document.activeElement),J=I||document.activeElement===document.body||document.activeElement?.id==="main";if(E.key==="Enter"&&J)!E.repeat&&Q();else if(E.key==="n"||E.key==="x"||E.key===" "&&I)ot(k,"n");else if(E.key==="u")ot(k,"u");else if(E.key==="y")O(k,"y");else if(U&&J){let bt=Math.max(0,Math.min(n.length-1,k+U));A(bt),g.current.querySelectorAll("button")[bt].focus()}else return!1;return!0});let Z=(E,D)=>{if(E.pointerType==="touch"||E.button)return;let U=K(n[D].image)==="n"?"y":"n";M.current=U,O(D,U);let I=()=>{setTimeout(()=>{M.current=null}),removeEventListener("pointerup",I)};addEventListener("pointerup",I)},z=E=>{if(!M.current||!E.buttons)return;let D=document.elementFromPoint(E.clientX,E.clientY)?.closest("[data-place]")?.dataset.place;D!==void 0&&O(Number(D),M.current)},X=n?.filter(({image:E})=>K(E)!=="y").length??0,tt=y&&i`<${j} error=${y} retry=${n?void 0:R} />`;return n?i`
    ${tt}
    ${p&&i`<p class="note" role="note">${o("pager.resumed",{name:it.value||o("reviewer.nameless")})}${" "}
      <button type="button" class="button small" onClick=${R}>${o("pager.anew")}</button></p>`}
    ${l&&i`<p class="note" role="note">${Je(l)}</p>`}
    ${n.length===0?i`<${H} title=${o("pager.done")}>
        <p>${o("pager.next",{entity:i`<a href=${N(["entity",t])}>${o("pager.entity")}</a>`,other:i`<a href="#/review">${o("pager.other")}</a>`})}</p><//>`:i`<p class="keys">${o("pager.keys",{arrows:i`<kbd>←</kbd><kbd>→</kbd><kbd>↑</kbd><kbd>↓</kbd>`,wrong:i`<kbd>n</kbd>`,space:i`<kbd>${o("key.space")}</kbd>`,unsure:i`<kbd>u</kbd>`,enter:i`<kbd>${o("key.enter")}</kbd>`,undo:i`<kbd>z</kbd>`})}</p>
        <div class="judge-grid" ref=${g} role="group" aria-label=${o("pager.grid",{name:e})}
          style=${{"--least":`${ce(tn)}px`}} onPointerMove=${z}>
          ${n.map(({image:E},D)=>{let U=K(E);return i`<button key=${E.id} type="button" class=${`judge ${U}`} data-place=${D}
                tabindex=${D===k?0:-1} aria-label=${`${lt(E)}: ${et(U)}`}
                onFocus=${()=>A(D)} onPointerDown=${I=>Z(I,D)}
                onKeyDown=${I=>{I.key==="Enter"&&I.preventDefault()}}
                onClick=${I=>{I.detail&&!M.current&&ot(D,"n")}}>
              <${nt} key=${E.id} image=${E} onGone=${()=>m(I=>new Set(I).add(E.id))} />
              <span class="mark"><${_} name=${{y:"check",n:"close",u:"question"}[U]} /></span>
            </button>`})}
        </div>`}
    <div class="judge-bar">
      <button class="button main" disabled=${f||!n.length} onClick=${Q}>
        <${_} name="check" />${o("pager.take",{right:n.length-X,wrong:X})}</button>
      <button class="button" disabled=${f||!b.length} onClick=${B}><${_} name="undo" /><span class="undo">${o("undo")}</span></button>
      <p class="faint">${b.length>0&&o("pager.judged",{count:b.reduce((E,D)=>E+D.page.length,0)})}</p>
    </div>`:tt||i`<${W} />`}function nn({entity:t}){let[e,n]=v(null);if(C(()=>{let u=!0;return P.precision(t).then(m=>u&&n(m),()=>{}),()=>{u=!1}},[vt.value,t]),!e?.judged&&!e?.agents)return null;let{precision:r,lower:s,upper:a,judged:l,labels:c,agents:p}=e,d=p>0&&i` <span class="faint">${o("precision.agents",{count:p})}</span>`;return l?i`<p class="precision" role="note">
    <span class="interval" aria-hidden="true"><span class="range" style=${{left:`${s*100}%`,width:`${(a-s)*100}%`}} />
      <span class="point" style=${{left:`${r*100}%`}} /></span>
    <span>${o("precision.sentence",{precision:i`<strong>${q(r)}</strong>`,lower:q(s),upper:q(a),verdicts:o("precision.verdicts",{count:l}),labels:o("labels",{count:c})})}${d}</span></p>`:i`<p class="precision" role="note">${d}</p>`}var xo=20,Eo=9,on={y:"single.saidYes",n:"single.saidNo",u:"said.unsure"},So={minimumFractionDigits:2,maximumFractionDigits:2},we=({image:t,entity:e})=>`${t.id} ${e.id}`;function rn({entity:t}){let[e,n]=v(null),[r,s]=v([]),[a,l]=v(null),{current:c}=F(new Set),p=F(!1),d=async()=>{l(null);try{let w=await P.review({entity:t,order:"active",accepted:!0,who:it.value,limit:xo+c.size});n(w.filter(k=>!c.has(we(k))))}catch(w){l(w)}};C(()=>{d()},[]);let u=e?.[0],m=()=>(c.add(we(u)),b()),b=async()=>e.length>1?n(e.slice(1)):d(),$=async(w,k="",A="")=>{if(!(p.current||!u)){p.current=!0,l(null);try{let g=await It([{image:u.image,entity:u.entity.id,value:w,instead:k}]);s([...r,{ids:g,item:u,value:w,name:A}]),G(A?o("single.is",{name:A}):o("single.given",{said:o(on[w])})),await b()}catch(g){l(g)}finally{p.current=!1}}},y=async()=>{let w=r.at(-1);if(!(p.current||!w)){p.current=!0;try{await xt(w.ids),s(r.slice(0,-1)),n([w.item,...e??[]]),G(o("single.undone"))}catch(k){l(k)}finally{p.current=!1}}};$t(w=>w.key!=="z"||w.repeat?!1:(y(),!0));let h=r.at(-1),f=a&&i`<${j} error=${a} retry=${e?void 0:d} />`;return i`${f}
    ${!e&&!a&&i`<${W} />`}
    ${e&&(u?i`<${Mo} key=${we(u)} item=${u} onDecide=${$} onSkip=${m} />`:i`<${H} title=${o("single.done")}><p>${o(t?"single.noneLeft":"single.noLabelLeft")}
          ${" "}<a href="#/review">${o("single.choose")}</a></p><//>`)}
    <div class="judge-bar">
      <button class="button" disabled=${!h} onClick=${y}><${_} name="undo" /><span class="undo">${o("undo")}</span></button>
      <p class="faint" data-last>${h&&o(h.name?"single.lastInstead":"single.last",{name:h.item.entity.name,said:o(on[h.value]),instead:h.name,share:q(h.item.probability),count:r.length})}</p>
    </div>`}function Mo({item:t,onDecide:e,onSkip:n}){let{image:r,entity:s}=t,[a,l]=v(null),[c,p]=v(null),[d,u]=v(!1);C(()=>{let g=!0;return P.reading(r.id).then(M=>g&&p(M),()=>{}),P.recogniseImage(r.id).then(M=>g&&l(M.entities),()=>g&&l([])),()=>{g=!1}},[]);let m=a?.find(g=>g.entity.id===s.id)?.evidence??[],b=c?.candidates??[],$=new Set(b.filter(g=>g.entity===s.id).map(g=>g.mention)),y=[...new Set([...$].map(g=>c.mentions[g]?.kind).filter(Boolean))],h=new Map(b.map(g=>[g.entity,g.description])),f=new Map(b.filter(g=>$.has(g.mention)).map(g=>[g.entity,g.name]));r.labels.forEach(g=>f.set(g.entity,g.name)),a?.filter(g=>(g.probability??1)>=Gt).forEach(g=>{f.set(g.entity.id,g.entity.name),h.set(g.entity.id,g.entity.description)}),f.delete(s.id);let w=[s.name,...f.values()],k=c?.text===r.text&&$.size?Dt(r.text,c.mentions.map(({start:g,end:M},R)=>({start:g,end:M,kind:$.has(R)?"meant":"other"}))):_t(r.text,[s.name,...s.aliases]),A=[...f].slice(0,Eo);return $t(g=>{if(g.repeat)return!1;let M=A[Number(g.key)-1];if(["y","n","u"].includes(g.key))e(g.key);else if(g.key==="s")n();else if(g.key==="i")u(!0);else if(M)e("n",...M);else return!1;return!0}),i`<div class="single">
    <div class="stage"><button class="plain" aria-label=${o("detail.closely")} onClick=${()=>Ht(r)}>
      <${Et} src=${rt(r.id)} alt=${r.text?"":r.key} width=${r.width} height=${r.height} /></button></div>
    <div class="about">
      <h2 class="question">${o("verdict.ask",{name:i`<a href=${N(["entity",s.id])}>${s.name}</a>`})}</h2>
      ${s.description&&i`<p class="lead">${s.description}</p>`}
      ${r.text&&i`<blockquote class="caption">${k.map(g=>g.mark?i`<mark class=${g.mark}>${g.text}</mark>`:g.text)}</blockquote>`}
      ${y.length>0&&i`<p class="faint named-in">${o("single.namedIn",{kinds:y.join(", ")})}</p>`}
      <div class="verdicts" role="group" aria-label=${o("single.verdict")}>
        <button class="button yes" onClick=${()=>e("y")}><${_} name="check" />${o("single.yes")} <kbd>y</kbd></button>
        <button class="button no" onClick=${()=>e("n")}><${_} name="close" />${o("single.no")} <kbd>n</kbd></button>
        <button class="button" onClick=${()=>e("u")}><${_} name="question" />${o("single.unsure")} <kbd>u</kbd></button>
        <button class="button" onClick=${n}>${o("single.skip")} <kbd>s</kbd></button>
      </div>
      <section aria-label=${o("single.thisInstead")}><h3>${o("single.thisInstead")}</h3>
        <ul class="chips">${A.map(([g,M],R)=>i`<li key=${g}><span class="chip">
          <button type="button" class="chip-text" title=${h.get(g)} onClick=${()=>e("n",g,M)}><kbd>${R+1}</kbd> ${M}${w.indexOf(M)!==w.lastIndexOf(M)&&h.get(g)&&i` <span class="homonym">${h.get(g)}</span>`}</button></span></li>`)}
          ${!d&&i`<li key="another"><span class="chip"><button type="button" class="chip-text" onClick=${()=>u(!0)}>
            <kbd>i</kbd> ${o("single.another")}</button></span></li>`}</ul>
        ${d&&i`<div class="instead"><${Ft} label=${o("single.instead")} placeholder=${o("entityName")} focused
          onEntity=${g=>e("n",g.id,g.name)} /></div>`}</section>
      ${m.length>0&&i`<section aria-label=${o("single.evidence")}><h3>${o("single.near",{name:s.name})}</h3>
        <div class="evidence">${m.map(([g,M])=>i`<span key=${g.id} class="small-image" title=${o("single.similarity",{value:wt(M,So)})}>
          <${nt} image=${g} /></span>`)}</div></section>`}
    </div>
  </div>`}function Ao(){let{rest:[t="",e=""]}=Y.value;C(()=>kt(e),[e]);let n=pt.value[e]??e;if(Me.value.has(e))return i`<h1 class="unseen">${o("view.review")}</h1><${H} title=${o("review.unknown",{entity:e})}>
    <p><a href="#/review">${o("review.another")}</a></p><//>`;if(t&&!["grid","single","history"].includes(t))return i`<h1 class="unseen">${o("view.review")}</h1><${H} title=${o("app.noView")}>
    <p><a href="#/review">${o("review.back")}</a></p><//>`;let r=t==="grid"&&e;return i`
    <header class="review-head">
      <div>
        <h1>${r?n:t==="single"?e?n:o("review.single"):o(t==="history"?"review.history":"view.review")}</h1>
        ${t!=="single"&&i`<p class="lead">${o(r?"review.gridLead":t==="history"?"review.historyLead":"review.lead")}</p>`}
      </div>
      <div class="review-tools">
        <${Oe} />
        ${t&&i`<nav aria-label=${o("review.ways")} class="actions">
          ${r?i`<a class="button" href=${N(["review","single",e])}>${o("review.oneByOne")}</a>`:e&&i`<a class="button" href=${N(["review","grid",e])}>${o("review.asGrid")}</a>`}
          <a class="button" href="#/review">${o("review.others")}</a></nav>`}
      </div>
    </header>
    <${nn} entity=${e} />
    ${r?i`<${en} key=${e} entity=${e} name=${n} />`:t==="history"?i`<${Ze} />`:t==="single"?i`<${rn} key=${e} entity=${e} />`:i`<p class="actions"><a class="button main" href="#/review/single">${o("review.judge")}</a>
            <a class="button" href="#/review/history">${o("review.history")}</a>
            <a class="button" href="api/verdicts.parquet" download>${o("review.parquet")}</a></p>
          <h2>${o("view.entities")}</h2>
          <${me} path=${["review"]} target=${s=>N(["review","grid",s.id])}
            tail=${s=>o("labels",{count:s.images})} />`}`}export{At as Detail,Mn as Entities,Tn as Entity,yn as ExampleDialog,En as Images,io as MapView,xn as Rail,Ao as Review};
