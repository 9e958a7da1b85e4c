import{$ as yt,A as z,C as N,D as tt,E as At,H as Ee,J as ie,K as I,L as H,N as B,O as K,P as W,Q as Ct,R as G,S as lt,T as Ot,U as ot,V as Tt,W as Rt,X as ct,Y as Se,Z as ut,_ as Me,aa as Lt,b as v,ba as gt,c as A,ca as Pt,d as we,da as X,e as j,ea as Ae,f as se,fa as _t,ga as ae,h as i,ha as Nt,ia as dt,j as it,ja as Q,k as ft,ka as Dt,l as r,la as kt,m as ke,ma as Ce,na as pt,oa as It,p as _,pa as Oe,q as ve,r as J,ra as Ft,sa as Te,ta as Re,u as at,v as xe,y as nt,z as ht}from"./chunk-K5NDZIFT.js";async function jt(t){let{default:e}=await import("./photoswipe.esm-5BWHUGVW.js"),{width:n,height:o}=t.width?t:{width:1600,height:1200};new e({dataSource:[{src:J(t.id),msrc:ve(t),width:n,height:o,alt:ot(t)}],appendToEl:document.querySelector("dialog[open]")??document.body,showHideAnimationType:"none",bgOpacity:.94,zoom:!0,arrowKeys:!1,maxZoomLevel:8,closeTitle:r("close"),zoomTitle:r("closely.zoom"),errorMsg:r("closely.failed")}).init()}var an=3,Le={below_threshold:"why.threshold",sibling_preferred:"why.sibling",beyond_top_k:"why.beyond"};function ln(t,e,n){let o=new Map(t.labels.map(a=>[a.entity,{...a,candidate:null}]));for(let a of e?.candidates??[]){let l=o.get(a.entity)??{...a,candidate:null};o.set(a.entity,{...l,candidate:l.candidate??a})}for(let[a,l]of n)o.has(a)||o.set(a,{entity:a,name:at.value[a]??a,probability:null,by:l.who});let s=a=>a.accepted||a.probability===null?1:0;return[...o.values()].sort((a,l)=>s(l)-s(a)||(l.probability??0)-(a.probability??0))}function cn(t,e){let{prior:n,link_score:o,image_score:s,reason:a}=t,l=e.mentions[t.mention],c=[n!==null&&r("why.prior",{share:G(n)}),o!==null&&o>=0&&o<=1&&r("why.link",{share:G(o)})].filter(Boolean).join(", "),p=e.candidates.filter($=>$.image_score!==null),d=p.filter($=>$.mention===t.mention),u=d.length>1?d:p,m=u.reduce(($,h)=>h.image_score>$.image_score?h:$,t),w=s!==null&&u.length>1&&(m.entity===t.entity?r("why.closest",{count:u.length}):r("why.closer",{name:m.name}));return[l&&`${r("why.quoted",{text:l.surface})}${l.kind?` (${l.kind})`:""} ${c}`.trim(),w,Object.hasOwn(Le,a)&&r(Le[a])].filter(Boolean).join("; ")}function Pe({image:t,reading:e,verdicts:n}){let[o,s]=v(!1),[a,l]=v(!1),c=ln(t,e,n.said),p=c.filter((u,m)=>o||m<an||u.accepted||n.said.has(u.entity));A(()=>{n.said.forEach((u,m)=>{c.some(w=>w.entity===m&&w.candidate)||ht(m)})},[n.said]);let d=u=>{l(!1),nt([u]),n.give(u,"y",!1)};return i`<section aria-label=${r("labels.title")}><h3>${r("labels.title")}</h3>
    ${n.error&&i`<${B} error=${n.error} />`}
    <ul class="label-list">${p.map(u=>i`<li key=${u.entity} class=${u.accepted||u.probability===null?"":"candidate"}>
      <div class="recognised"><a href=${N(["entity",u.entity])} title=${u.description}>${u.name}</a>
        ${u.probability===null?i`<span class="faint">${u.by?r("labels.saidBy",{name:u.by}):r("labels.saidByPerson")}</span>`:i`<${dt} value=${u.probability} />`}
        <${_t} entity=${{id:u.entity,name:u.name}} verdicts=${n} /></div>
      ${u.candidate&&i`<p class="faint">${cn(u.candidate,e)}</p>`}</li>`)}</ul>
    ${!c.length&&i`<p class="faint">${r("labels.none")}</p>`}
    <p class="actions">
      ${c.length>p.length&&i`<button class="link" onClick=${()=>s(!0)}>${r("labels.more",{count:c.length-p.length})}</button>`}
      ${!a&&i`<button class="button small" onClick=${()=>l(!0)}><${I} name="plus" />${r("labels.add")}</button>`}</p>
    ${a&&i`<${Pt} label=${r("labels.also")} placeholder=${r("entityName")} focused onEntity=${d} />`}
  </section>`}function bt({src:t,alt:e,width:n=0,height:o=0,children:s}){let[a,l]=v(o?n/o:0),[c,p]=v(!1);return c?i`<p class="faint">${r("large.gone")}</p>`:i`<div class="large" style=${a?{"--ratio":String(a)}:{}}>
    <img src=${t} alt=${e} draggable=${!1} onError=${()=>p(!0)}
      onLoad=${d=>l(d.currentTarget.naturalWidth/d.currentTarget.naturalHeight)} />
    ${s}
  </div>`}var Bt=.01;function Ut({image:t,upload:e,region:n,verdicts:o}){let[s,a]=v(null),[l,c]=v(null),[p,d]=v(0),[u,m]=v(!1);if(A(()=>{let h=!0;return a(null),c(null),(t===void 0?_.recogniseUpload(e,n):_.recogniseImage(t,n)).then(y=>h&&a(y),y=>h&&c(y)),()=>{h=!1}},[t,e,n?.join(),p]),l)return i`<${B} error=${l} retry=${()=>d(p+1)} />`;if(!s)return i`<${W} what=${r("wait.recognising")} />`;let w=s.entities.filter(({probability:h},y)=>u||!y||(h??1)>=Bt),$=s.entities.length-w.length;return i`<section class="recognition" aria-label=${r("recognition.title")}>
    ${s.note&&i`<p class="note">${s.note}</p>`}
    ${s.uncalibrated&&i`<p class="faint why">${s.uncalibrated}</p>`}
    <ol>${w.map(h=>i`<li key=${h.entity.id}>
      <div class="recognised">
        <a href=${N(["entity",h.entity.id])}>${h.entity.name}</a>
        <${dt} value=${h.probability} />
        ${o&&i`<${_t} entity=${h.entity} verdicts=${o} />`}
      </div>
      ${h.entity.description&&i`<p class="faint">${h.entity.description}</p>`}
      ${h.evidence.length>0&&i`<div class="evidence" role="group" aria-label=${r("recognition.near",{name:h.entity.name})}>
        ${h.evidence.map(([y])=>i`<span key=${y.id} class="small-image">
          <${Q} image=${y} /></span>`)}</div>`}
      ${h.siblings.length>0&&i`<p class="faint">${r("recognition.or",{names:h.siblings.map((y,f)=>i`${f?", ":""}
        <a href=${N(["entity",y.id])} title=${y.description}>${y.name}</a>`)})}</p>`}
    </li>`)}</ol>
    ${$>0&&i`<p><button class="link" onClick=${()=>m(!0)}>${r("recognition.fewer",{count:$,share:G(Bt)})}</button></p>`}
    ${s.unnamed!==null&&i`<div class="recognised none">
      <span>${r("recognition.none")}</span>
      <${dt} value=${s.unnamed} />
    </div>`}
  </section>`}var Wt=.02,Kt=.04,rt=(t,e,n)=>Math.min(n,Math.max(e,t)),_e=t=>rt(Number(t.toFixed(4)),0,1),Ne=([t,e,n,o])=>r("region.where",{left:G(t),right:G(n),top:G(e),bottom:G(o)});function Ht({region:t,onRegion:e,onDone:n}){let o=j(null),s=j(null),[a,l,c,p]=t??[.25,.25,.75,.75],d=$=>{let h=o.current.getBoundingClientRect();return[rt(($.clientX-h.left)/h.width,0,1),rt(($.clientY-h.top)/h.height,0,1)]},u=$=>{if(!s.current)return;let[h,y]=d($),[f,b]=s.current,k=[Math.min(h,f),Math.min(y,b),Math.max(h,f),Math.max(y,b)];k[2]-k[0]>=Kt&&k[3]-k[1]>=Kt&&e(k.map(_e))},m=$=>{let[h,y]={ArrowLeft:[-Wt,0],ArrowRight:[Wt,0],ArrowUp:[0,-Wt],ArrowDown:[0,Wt]}[$.key]??[];if($.key==="Enter"&&($.preventDefault(),n([a,l,c,p])),h===void 0)return;$.preventDefault();let f=$.shiftKey?[a,l,rt(c+h,a+Kt,1),rt(p+y,l+Kt,1)]:[a+rt(h,-a,1-c),l+rt(y,-l,1-p),c+rt(h,-a,1-c),p+rt(y,-l,1-p)];e(f.map(_e)),H(Ne(f))},w=()=>{s.current=null};return i`<div class="region-frame" ref=${o}
      onPointerDown=${$=>{$.preventDefault(),$.currentTarget.setPointerCapture($.pointerId),s.current=d($)}}
      onPointerMove=${u} onPointerUp=${w} onPointerCancel=${w}>
    <div class="region" role="application" tabindex="0" aria-roledescription=${r("region.role")}
      aria-label=${r("region.name",{where:Ne([a,l,c,p])})}
      onKeyDown=${m}
      style=${{left:`${a*100}%`,top:`${l*100}%`,width:`${(c-a)*100}%`,height:`${(p-l)*100}%`}} />
  </div>`}var Gt=t=>t?.image??t;function un(t,e){for(let n=0;n<t.total;n+=1)if(Gt(t.at(n))?.id===e)return n;return-1}function dn(t,e){let n=ae.value?.list,o=j({id:0,place:-1}),[s,a]=v(-1);n&&(o.current.id!==t||o.current.place<0)&&(o.current={id:t,place:un(n,t)});let{place:l}=o.current,c=n&&l>=0?[l-1,l+1].filter(m=>m>=0&&m<n.total):[],p=c.map(m=>Gt(n.at(m))?.id).join();A(()=>{c.some(m=>!n.at(m))&&n.look(Math.max(0,l-1),l+2);for(let m of c)n.at(m)&&(new Image().src=J(Gt(n.at(m)).id))},[l,p]);let d=s>=0&&Gt(n?.at(s));return A(()=>{d&&(o.current={id:d.id,place:s},a(-1),e(d))},[d]),{step:m=>{c.includes(l+m)&&a(l+m)},place:l,total:n?.total??0,can:m=>c.includes(l+m)}}function vt({id:t,known:e,onClose:n,onSearch:o,onStep:s}){let[a,l]=v({id:0}),[c,p]=v(!1),{step:d,place:u,total:m,can:w}=dn(t,s),$=j(u),h=j(-1),y=e??(a.id===t?a.image:null),f=a.id===t?a.error:null;A(()=>{e||_.image(t).then(g=>l({id:t,image:g}),g=>l({id:t,error:g}))},[t]),ct(g=>{if(document.querySelector(".pswp"))return!1;if(g.key==="?")p(!c);else if(g.key==="ArrowLeft"||g.key==="ArrowRight")d(g.key==="ArrowLeft"?-1:1);else return!1;return!0},{inDialog:!0});let b=()=>{h.current=u>=0&&u!==$.current?u:-1,n()};A(()=>()=>{h.current>=0&&setTimeout(()=>ae.value?.move(h.current))},[]);let k=(g,M,P)=>i`<button class="round" aria-label=${M} title=${M} disabled=${!w(g)}
    onClick=${()=>d(g)}><${I} name=${P} /></button>`,C=i`<div class="steps">
    ${u>=0&&i`${k(-1,r("detail.previous"),"left")}
      <span class="figure" role="status">${r("detail.place",{place:u+1,total:m})}</span>${k(1,r("detail.next"),"right")}`}
    <button class="round wide-only" aria-label=${r("detail.keys")} title=${r("detail.keys")} aria-expanded=${c} onClick=${()=>p(!c)}><${I} name="keys" /></button></div>`;return i`<${Ct} title=${y?ot(y):r("detail.image")} kind="wide" tools=${C} onClose=${b}>
    ${c&&i`<p class="keys">${r("detail.keysHelp",{left:i`<kbd>←</kbd>`,right:i`<kbd>→</kbd>`,tab:i`<kbd>Tab</kbd>`,help:i`<kbd>?</kbd>`,escape:i`<kbd>Esc</kbd>`})}</p>`}
    ${f?i`<${B} error=${f} />`:y?i`<${pn} key=${t} image=${y} onSearch=${o} />`:i`<${W} />`}
  <//>`}function pn({image:t,onSearch:e}){let{id:n}=t,[o,s]=v(!1),[a,l]=v(null),[c,p]=v(!1),[d,u]=v(null),m=Ae(t);A(()=>{let h=!0;return _.reading(n).then(y=>h&&u(y),()=>{}),()=>{h=!1}},[]);let w=o?a??[.25,.25,.75,.75]:null,$=()=>e({image:n,weight:1,region:w});return i`<div class="detail">
    <div class="stage">
      <${bt} src=${J(n)} alt=${ot(t)} width=${t.width} height=${t.height}>
        ${o&&i`<${Ht} region=${a} onRegion=${l} onDone=${$} />`}<//>
    </div>
    <div class="about">
      <div class="actions">
        <button class="button main" onClick=${$}><${I} name="search" />
          ${o?r("region.search"):r("detail.like")}</button>
        <button class="button" onClick=${()=>s(!o)}>
          <${I} name="crop" />${o?r("region.whole"):r("region.select")}</button>
        <button class="button" onClick=${()=>jt(t)}><${I} name="closer" />${r("detail.closely")}</button>
        <button class="button" aria-pressed=${c} onClick=${()=>p(!c)}>
          <${I} name="tag" />${r("detail.recognise")}</button>
        <a class="button" href=${J(n)} download><${I} name="download" />${r("detail.download")}</a>
      </div>
      ${o&&i`<p class="faint">${r("region.help")}</p>`}
      ${c&&i`<${Ut} image=${n} region=${w} verdicts=${m} />`}
      <${Pe} image=${t} reading=${d} verdicts=${m} />
      ${t.text.trim()&&i`<${mn} image=${t} reading=${d} />`}
      <${$n} image=${t} />
    </div>
  </div>`}function mn({image:t,reading:e}){let n=new Set(e?.candidates.filter(({accepted:c})=>c).map(({mention:c})=>c)),o=e?.text===t.text?e.mentions:[],s=o.length?Rt(t.text,o.map(({start:c,end:p},d)=>({start:c,end:p,kind:String(d)}))):Tt(t.text,t.labels.filter(({accepted:c})=>c).map(({name:c})=>c)),a=({text:c,mark:p})=>{let{kind:d="",detector:u="",reason:m=""}=o[p]??{};return p?i`<mark class=${!o.length||n.has(Number(p))?"meant":"other"}
      title=${[d,u,m].filter(Boolean).join(" · ")}>${c}</mark>`:c},l=[...new Set(o.map(({kind:c})=>c).filter(Boolean))];return i`<section aria-label=${r("detail.text")}><h3>${r("detail.text")}</h3>
    <blockquote class="caption" tabindex="0">${s.map(a)}</blockquote>
    ${l.length>0&&i`<p class="faint named-in">${r("detail.namesIn",{kinds:l.join(", ")})}</p>`}</section>`}function $n({image:t}){let e=Object.entries(t.columns).filter(([,n])=>n!==null&&n!=="");return i`<dl class="facts">
    ${t.width>0&&i`<dt>${r("detail.size")}</dt><dd>${t.width} × ${t.height}</dd>`}
    <dt>${r("detail.file")}</dt><dd>${t.path||`${t.shard} · ${t.key}`}</dd>
    ${/^https?:\/\//.test(t.url)&&i`<dt>${r("detail.from")}</dt><dd><a href=${t.url} rel="noreferrer noopener" target="_blank">${t.url}</a></dd>`}
    ${e.map(([n,o])=>i`<dt>${n}</dt><dd>${String(o)}</dd>`)}
  </dl>`}function fn({example:t,src:e,name:n,onClose:o,onRegion:s}){let[a,l]=v(t.region),[c,p]=v(!1),d=t.upload?e:J(t.image);return i`<${Ct} title=${r("example.part",{name:n})} kind="wide" onClose=${o}>
    <div class="detail">
      <div class="stage">${d?i`<${bt} src=${d} alt=${n}>
          <${Ht} region=${a} onRegion=${l} onDone=${s} /><//>`:i`<p class="faint">${r("example.lost")}</p>`}</div>
      <div class="about">
        <p class="faint">${r("region.help")}</p>
        <div class="actions">
          <button class="button main" disabled=${!a} onClick=${()=>s(a)}>
            <${I} name="crop" />${r("region.search")}</button>
          <button class="button" disabled=${!t.region} onClick=${()=>s(null)}>${r("region.whole")}</button>
          <button class="button" aria-pressed=${c} onClick=${()=>p(!c)}>
            <${I} name="tag" />${r("detail.recognise")}</button>
        </div>
        ${c&&i`<${Ut} image=${t.image} upload=${t.upload} region=${a} />`}
      </div>
    </div>
  <//>`}var hn=6,yn=new Set(["date","licence","license"]),gn={month:"long",year:"numeric",timeZone:"UTC"},bn={type:({value:t,name:e})=>e===t?lt(t):e,verdict:({value:t})=>X(t),folder:({value:t})=>t.split("/").pop(),date:({value:t})=>t.length>4?ft(new Date(`${t}-01`),gn):t};function wn(t){let[e,n]=t.split("-").map(Number);return[new Date(Date.UTC(e,n?n-1:0)),new Date(Date.UTC(e,n||12,0))].map(o=>o.toISOString().slice(0,10))}function kn({query:t,columns:e,onFilters:n}){let[o,s]=v(null),[a,l]=v(null),{filters:c}=t,p={...It(t),order:""};A(()=>{let f=new AbortController;return l(null),_.facets(p,f.signal).then(b=>{nt((b.values.entity??[]).map(({value:k,name:C})=>({id:k,name:C}))),s(b)},b=>{b.name!=="AbortError"&&l(b)}),()=>f.abort()},[JSON.stringify(p),yt.value]);let d=f=>n({...c,...f}),u=(f,b,k={})=>i`<label class="field"><span>${b}</span>
    <${Se} value=${c[f]??""} ...${k} onValue=${C=>d({[f]:C})} /></label>`,m=f=>(o?.values[f]??[]).map(b=>({...b,name:(bn[f]??(()=>b.name))(b)})).filter(b=>b.name),w=(f,b=k=>({[f]:k}))=>i`<ul class="facet-values">
    ${m(f).map(({value:k,name:C,images:g})=>i`<li key=${k}>
      <button type="button" class="facet-value" title=${k} onClick=${()=>d(b(k))}><span>${C}</span>
        <span class="figure">${it(g)}<span class="unseen"> ${r("rail.images",{count:g})}</span></span></button></li>`)}</ul>`,$=(f,b,k)=>(c[f]||m(f).length>0)&&i`<section><h2>${b}</h2>
    ${c[f]?i`<button type="button" class="facet-value" aria-pressed="true" onClick=${()=>d({[f]:""})}>
        <span>${k}</span><${I} name="close" /></button>`:w(f)}</section>`,h=Number(c.min_probability??0),y=new Map(m("min_probability").map(({value:f,images:b})=>[Number(f),b]));return i`<div id="filters" class="rail" role="group" aria-label=${r("filters")}>
    ${a&&i`<${B} error=${a} />`}
    ${o?i`<p class="faint">${r(o.ranked?"rail.best":"rail.all",{count:o.images})}</p>`:!a&&i`<${W} what=${r("wait.counting")} />`}
    ${$("type",r("type"),lt(c.type??"")||c.type)}
    ${$("entity",r("view.entity"),at.value[c.entity]??c.entity)}
    <section><label class="field"><span>${r("rail.least")}</span>
      <select value=${String(h)} onChange=${f=>d({min_probability:f.currentTarget.value})}>
        ${[0,.5,.8,.9,.95].map(f=>i`<option value=${String(f)} selected=${f===h}>
          ${f?`${Math.round(f*100)} %`:r("rail.any")}${y.has(f)?` · ${it(y.get(f))}`:""}</option>`)}
      </select></label></section>
    ${$("verdict",r("rail.verdict"),X(c.verdict))}
    <section>${u("folder",r("rail.folder"),{placeholder:"/photos/2024"})}${w("folder")}</section>
    ${e.includes("date")&&i`<section>${u("since",r("rail.since"),{type:"date"})}${u("until",r("rail.until"),{type:"date"})}
      ${w("date",f=>{let[b,k]=wn(f);return{since:b,until:k}})}</section>`}
    ${e.some(f=>f==="licence"||f==="license")&&i`<section>
      ${u("licence",r("rail.licence"),{placeholder:"cc-by*"})}${w("licence")}</section>`}
    ${e.filter(f=>!yn.has(f)).slice(0,hn).map(f=>i`<section key=${f}>
      ${u(`column.${f}`,f)}${w(`column.${f}`)}</section>`)}
  </div>`}function le({ids:t,picked:e=!1,onOpen:n}){let o=Ft(async(s,a,l)=>{let c=t.slice(s,s+a),p=new Map(c.length?(await _.images(c,l)).map(d=>[d.id,d]):[]);return{items:c.map(d=>p.get(d)??{id:d,key:r("chosen.gone"),text:"",labels:[]}),total:t.length}},"");return o.error?i`<${B} error=${o.error} retry=${()=>o.retry()} />`:o.total===null?i`<${W} />`:i`<${Nt} label=${r("chosen.title")} list=${o} picked=${e?t:[]}
    tile=${(s,a,l)=>i`<${Dt} image=${s} active=${l} onOpen=${()=>n(s)}>
      <p class="tile-label faint">${s.labels.find(c=>c.accepted)?.name}</p><//>`} />`}function ce(t){let[e,n]=v(null),{params:o}=z.value,s=Number(o.get("show"))||0,a=p=>{let d=new URLSearchParams(z.value.params);return p?d.set("show",String(p)):d.delete("show"),N(t,d)},l=(p,d=null,u=!1)=>{n(d),tt(a(p),u)},c=s>0&&i`<${vt} id=${s} known=${e?.id===s?e:null}
    onClose=${()=>At(a(0))} onStep=${p=>l(p.id,p,!0)}
    onSearch=${p=>tt(N(["search"],pt({...kt,examples:[p]})))} />`;return{open:l,detail:c}}function vn(){let t=z.value.params.get("ids")??"",e=[...new Set(t.split(",").map(Number).filter(s=>Number.isInteger(s)&&s>0))],{open:n,detail:o}=ce(["images"]);return i`<h1>${r("images",{count:e.length})}</h1>
    ${e.length?i`<${le} key=${t} ids=${e} onOpen=${s=>n(s.id,s)} />`:i`<${K} title=${r("chosen.none")}><p><a href="#/search">${r("app.toSearch")}</a></p><//>`}
    ${o}`}var xt=60,xn=150;function ue({path:t,target:e,tail:n}){let{params:o}=z.value,s=o.get("prefix")??"",a=o.get("type")??"",[l,c]=v(null),[p,d]=v(!1),[u,m]=v(null),[w,$]=v(0),h=f=>{let b=Object.fromEntries(Object.entries({prefix:s,type:a,...f}).filter(([,k])=>k));tt(N(t,b),!0)};A(()=>{let f=new AbortController,b=setTimeout(async()=>{try{let k=await _.entities({prefix:s,type:a,limit:xt},f.signal);nt(k),c(k),d(k.length===xt),m(null),(s||a)&&H(r(k.length===xt?"entities.least":"entities",{count:k.length}))}catch(k){k.name!=="AbortError"&&m(k)}},l?xn:0);return()=>{clearTimeout(b),f.abort()}},[s,a,w]);let y=async()=>{try{let f=await _.entities({prefix:s,type:a,limit:xt,offset:l.length});nt(f),c([...l,...f]),d(f.length===xt)}catch(f){m(f)}};return i`
    <form class="entity-filters" role="search" onSubmit=${f=>f.preventDefault()}>
      <label class="field"><span>${r("entities.prefix")}</span><input type="text" value=${s} autocomplete="off"
        onInput=${f=>h({prefix:f.currentTarget.value})} /></label>
      <label class="field"><span>${r("type")}</span><input type="text" value=${a} autocomplete="off"
        onInput=${f=>h({type:f.currentTarget.value})} /></label>
    </form>
    ${u&&i`<${B} error=${u} retry=${()=>$(w+1)} />`}
    ${!l&&!u&&i`<${W} />`}
    ${l?.length===0&&(s||a?i`<${K} title=${r("entities.unknown")}>
        <p>${r("entities.unknownHint")}</p><//>`:i`<${K} title=${r("entities.none")}>
        <p>${r("entities.noneHint")}</p><//>`)}
    <ul class="entity-list">${l?.map(f=>i`<li key=${f.id}>
      <a class="entity-card" href=${e(f)}>
        <strong>${f.name}</strong>
        <span class="faint">${Ot(f)}</span>
        <span class="figure">${n?n(f):r("images",{count:f.images})}</span>
      </a></li>`)}</ul>
    ${p&&i`<p class="center"><button class="button" onClick=${y}>${r("more")}</button></p>`}`}function En(){return i`<h1>${r("view.entities")}</h1>
    <${ue} path=${["entities"]} target=${t=>N(["entity",t.id])} />`}var Sn=12,Mn=[["labels","entity.kindLabels"],["candidates","entity.kindBelow"],["all","entity.kindAll"]],An=[["sure","entity.sure"],["doubt","entity.doubt"]];function Cn(){let{rest:[t=""],params:e}=z.value,[n,o]=v(null),[s,a]=v(null),[l,c]=v(null),[p,d]=v(0);return A(()=>{let u=!0;return _.entity(t).then(m=>{u&&(nt([m]),o(m))},m=>u&&c(m)),_.similar(t).then(m=>u&&a(m),()=>{}),()=>{u=!1}},[t,p]),l?i`<h1 class="unseen">${r("view.entity")}</h1><${B} error=${l} retry=${()=>{c(null),d(p+1)}} />
    <p class="center"><a href="#/entities">${r("entity.all")}</a></p>`:n?i`
    <article class="entity">
      <header class="entity-head">
        <div>
          <h1>${n.name}</h1>
          ${n.description&&i`<p class="lead">${n.description}</p>`}
          <ul class="chips" aria-label=${r("types")}>
            ${n.types.filter(lt).map(u=>i`<li key=${u}><${Te} href=${N(["entities"],{type:u})}>${lt(u)}<//></li>`)}
            <li><span class="faint">${n.id}</span></li>
          </ul>
          <${On} aliases=${n.aliases.filter(u=>u.toLowerCase()!==n.name.toLowerCase())} />
        </div>
        <div class="entity-side">
          <dl class="counts">
            <div><dt>${r("entity.named")}</dt><dd>${it(n.named)} <span>${r("entity.texts",{count:n.named})}</span></dd></div>
            <div><dt>${r("entity.shown")}</dt><dd>${it(n.images)} <span>${r("entity.images",{count:n.images})}</span></dd></div>
          </dl>
          <div class="actions">
            <a class="button main" href=${N(["search"],pt({...kt,entity:t}))}><${I} name="search" />${r("entity.search")}</a>
            <a class="button" href=${N(["review","grid",t])}><${I} name="check" />${r("entity.review")}</a>
          </div>
        </div>
      </header>
      <${Tn} entity=${n} params=${e} />
      ${s?.length>0&&i`<section aria-labelledby="look-alikes"><h2 id="look-alikes">${r("entity.alike")}</h2>
        <ul class="entity-list">${s.map(u=>i`<li key=${u.id}>
          <a class="entity-card" href=${N(["entity",u.id])}><strong>${u.name}</strong>
            <span class="faint">${Ot(u)}</span>
            <span class="figure">${r("images",{count:u.images})}</span></a></li>`)}</ul></section>`}
    </article>`:i`<${W} />`}function On({aliases:t}){let[e,n]=v(!1);if(!t.length)return null;let o=e?t:t.slice(0,Sn);return i`<p class="aliases"><span class="faint">${r("entity.also")}</span> ${o.join(" · ")}
    ${t.length>o.length&&i` <button class="link" onClick=${()=>n(!0)}>${r("entity.more",{count:t.length-o.length})}</button>`}</p>`}function Tn({entity:t,params:e}){let n=e.get("show")??"labels",o=e.get("order")==="doubt"?"doubt":"sure",s=Number(e.get("image"))||0,[a,l]=v(null),c={labels:!0,candidates:!1}[n],p={labels:t.images,candidates:t.named-t.images}[n]??t.named,d=Ft(async($,h,y)=>({items:await _.entityImages(t.id,{order:o,accepted:c,limit:h,offset:$},y),total:p}),`${t.id} ${n} ${o} ${p} ${yt.value}`),u=($,h=!0)=>{let y=new URLSearchParams(e);Object.entries($).forEach(([f,b])=>b?y.set(f,b):y.delete(f)),tt(N(["entity",t.id],y),h)},m=()=>{let $=new URLSearchParams(e);$.delete("image"),At(N(["entity",t.id],$))},w=($,h,y,f,b)=>i`<${Re} legend=${$} name=${h} value=${f}
    options=${y.map(([k,C])=>[k,r(C)])} onChange=${k=>u({[h]:k===b?"":k})} />`;return i`<section aria-labelledby="images">
    <div class="results-head"><h2 id="images">${r("view.images")}</h2>
      ${w(r("entity.which"),"show",Mn,n,"labels")}${w(r("order"),"order",An,o,"sure")}</div>
    ${d.error?i`<${B} error=${d.error} retry=${()=>d.retry()} />`:d.total===null?i`<${W} />`:d.total?i`<${Nt} label=${r("entity.imagesOf",{name:t.name})} list=${d} entity=${t.id}
            tile=${($,h,y)=>i`<${Dt} image=${$.image} active=${y} kind=${$.accepted?"":"beyond"}
              about=${[r("tile.probability",{share:G($.probability)}),$.verdict&&r("tile.judged",{said:X($.verdict)})].filter(Boolean).join(", ")}
              onOpen=${()=>{l($.image),u({image:String($.image.id)},!1)}}>
              <div class="tile-row"><${dt} value=${$.probability} />
                ${$.verdict&&i`<span class=${`said ${$.verdict}`}>${X($.verdict)}</span>`}</div><//>`} />`:i`<${K} title=${r("entity.noImage")}>
          <p>${r(n==="labels"?"entity.unlabelled":"entity.noneOfKind")}</p><//>`}
    ${s>0&&i`<${vt} id=${s} known=${a?.id===s?a:null}
      onClose=${m} onStep=${$=>{l($),u({image:String($.id)})}}
      onSearch=${$=>tt(N(["search"],pt({...kt,examples:[$]})))} />`}
  </section>`}var Et=([t,e,n,o])=>({x:(t+n)/2,y:(e+o)/2,zoom:1});function pe({deepest:t},[e,n,o]){let s=65536/2**Math.min(e,t);return{left:n*s,top:o*s,side:s}}function De(t,e){let n=Math.floor(t.byteLength/17),o=0,s=a=>{let l=new a(t,o,n);return o+=l.byteLength,l};return{...e,images:s(Float64Array),x:s(Uint16Array),y:s(Uint16Array),area:s(Uint16Array),type:s(Uint8Array),probability:s(Uint8Array),verdict:s(Uint8Array)}}var st=(t,{width:e,height:n,bounds:[o,s,a,l]})=>t.zoom*Math.min(Math.max(1,e-32)/Math.max(1,a-o),Math.max(1,n-32)/Math.max(1,l-s));function mt(t,e,n,o){let s=st(t,e);return[t.x+(n-e.width/2)/s,t.y+(o-e.height/2)/s]}function $t(t,e,n,o){let s=st(t,e);return[(n-t.x)*s+e.width/2,(o-t.y)*s+e.height/2]}var qt=(t,e,n)=>Math.min(n,Math.max(e,t)),Vt=({x:t,y:e,zoom:n},[o,s,a,l])=>({x:qt(t,o,a),y:qt(e,s,l),zoom:qt(n,1,4e3)});function zt(t,e,n,[o,s],[a,l]){let[c,p]=mt(t,e,o,s),d=qt(t.zoom*n,1,4e3),u=st({...t,zoom:d},e);return Vt({x:c-(a-e.width/2)/u,y:p-(l-e.height/2)/u,zoom:d},e.bounds)}var St=(t,e,n,o=e.width/2,s=e.height/2)=>zt(t,e,n,[o,s],[o,s]);function Yt(t,e){let[n,o]=mt(t,e,0,0),[s,a]=mt(t,e,e.width,e.height);return[[n,o],[s,o],[s,a],[n,a]]}function me(t,e,n,o){let[[s,a],,[l,c]]=Yt(e,n),p=t.tiles.filter(u=>{let m=pe(t,u);return m.left<=l&&m.top<=c&&m.left+m.side>=s&&m.top+m.side>=a}),d=[];for(let u=0,m=0;u<p.length&&m<o;){let w=u,$=0;for(;w<p.length&&p[w][0]===p[u][0];)$+=p[w++][3];let h=Math.min(1,(o-m)/$);for(;u<w;)d.push([p[u],Math.floor(p[u++][3]*h)]);m+=$}return d}function Ie(t,e,n,o){let s=null,a=o*o;for(let[l,c]of t){if(e+o<l.left||n+o<l.top||e-o>l.left+l.side||n-o>l.top+l.side)continue;let p=l.side/65536;for(let d=0;d<c;d+=1){let u=(l.left+l.x[d]*p-e)**2+(l.top+l.y[d]*p-n)**2;u<=a&&([s,a]=[{tile:l,row:d},u])}}return s}var Xt=(t,e)=>[t.left+t.x[e]*t.side/65536,t.top+t.y[e]*t.side/65536];function Fe(t,e,n){let o=!1;for(let s=0,a=t.length-1;s<t.length;a=s,s+=1){let[[l,c],[p,d]]=[t[s],t[a]];c>n!=d>n&&e<(p-l)*(n-c)/(d-c)+l&&(o=!o)}return o}var je=t=>t.split(",").map(Number),de=t=>Number(t.toFixed(2));function Be(t){let e=Math.max(1,Math.ceil(t.length/60));return t.filter((n,o)=>o%e===0).map(n=>n.map(de).join(",")).join(";")}function Qt(t){let e=t.split(";").map(je),n=o=>o.length===2&&o.every(s=>Math.abs(s)<=1e6);return e.length>=3&&e.length<=500&&e.every(n)?e:null}function Ue(t,e){let n=[t.x,t.y,t.zoom].map(de).join();return n===Object.values(Et(e)).map(de).join()?"":n}function $e(t,e){let[n,o,s,...a]=je(t);return t&&!a.length&&[n,o,s].every(Number.isFinite)?Vt({x:n,y:o,zoom:s},e):Et(e)}var Zt=8,Rn=`#version 300 es
in float x; in float y; in float shade;
uniform vec4 box; uniform vec4 colours[16]; uniform float size;
flat out vec3 colour;
void main() {
  vec4 own = colours[int(shade)];
  gl_Position = vec4(x * box.x + box.z, y * box.y + box.w, shade / 16.0, 1.0);
  gl_PointSize = size * own.a;
  colour = own.rgb;
}`,Ln=`#version 300 es
precision lowp float;
flat in vec3 colour; out vec4 painted;
void main() { painted = vec4(colour, 1.0); }`,Pn=/swiftshader|llvmpipe|softpipe|software|basic render/i,We=null;function _n(){let t=document.createElement("canvas").getContext("webgl2",{failIfMajorPerformanceCaveat:!0});if(!t)return!1;let e=t.getExtension("WEBGL_debug_renderer_info"),n=t.getParameter(e?e.UNMASKED_RENDERER_WEBGL:t.RENDERER);return t.getExtension("WEBGL_lose_context")?.loseContext(),!Pn.test(n)}function fe(t){We??=_n();let e=We&&t.getContext("webgl2",{antialias:!1,preserveDrawingBuffer:!0});return e?Nn(t,e):Dn(t)}function Ke(t,{width:e,height:n}){let o=devicePixelRatio||1,[s,a]=[Math.round(e*o),Math.round(n*o)];return(t.width!==s||t.height!==a)&&([t.width,t.height]=[s,a]),o}function He(t,e){return Uint8Array.from(t.x,(n,o)=>e.shade(t,o))}function Nn(t,e){let n=e.createProgram();for(let[$,h]of[[e.VERTEX_SHADER,Rn],[e.FRAGMENT_SHADER,Ln]]){let y=e.createShader($);e.shaderSource(y,h),e.compileShader(y),e.attachShader(n,y)}e.linkProgram(n),e.useProgram(n),e.enable(e.DEPTH_TEST),e.depthFunc(e.LEQUAL);let[o,s,a]=["box","colours","size"].map($=>e.getUniformLocation(n,$)),l=new Map,c=new Set,p=null,d=1,u=($,h,y,f)=>{let b=e.createBuffer(),k=e.getAttribLocation(n,$);return e.bindBuffer(e.ARRAY_BUFFER,b),e.bufferData(e.ARRAY_BUFFER,h,e.STATIC_DRAW),e.enableVertexAttribArray(k),e.vertexAttribPointer(k,1,y,f,0,0),b},m=({array:$,buffers:h})=>{e.deleteVertexArray($),h.forEach(y=>e.deleteBuffer(y))},w=$=>{c.add($);let h=l.get($);if(h?.key!==p.key){h&&m(h);let y=e.createVertexArray();e.bindVertexArray(y),h={array:y,key:p.key,buffers:[u("x",$.x,e.UNSIGNED_SHORT,!0),u("y",$.y,e.UNSIGNED_SHORT,!0),u("shade",He($,p),e.UNSIGNED_BYTE,!1)]},l.set($,h)}e.bindVertexArray(h.array)};return{clear($,h){for(let[y,f]of l)c.has(y)||(m(f),l.delete(y));c=new Set,p=h,d=Ke(t,$),e.viewport(0,0,t.width,t.height),e.uniform4fv(s,p.colours.flat()),e.clear(e.COLOR_BUFFER_BIT|e.DEPTH_BUFFER_BIT)},draw($,h,y,f,b,k){w($);let[C,g]=$t(f,b,$.left,$.top),M=$.side*st(f,b);e.uniform4f(o,2*M/b.width,-2*M/b.height,2*C/b.width-1,1-2*g/b.height),e.uniform1f(a,k*d),e.drawArrays(e.POINTS,h,y-h)},show(){}}}function Dn(t){let e=t.getContext("2d",{willReadFrequently:!0}),n=new WeakMap,o=null,s=1,a=null,l=null,c=null,p=null;return{clear(d,u){o=u,s=Ke(t,d),(a?.width!==t.width||a.height!==t.height)&&(a=e.createImageData(t.width,t.height),l=new Uint32Array(a.data.buffer),c=new Uint8Array(l.length)),l.fill(0),c.fill(o.colours.length),p=o.colours.map(m=>new Uint32Array(Uint8Array.from([...m.slice(0,3).map(w=>Math.round(w*255)),255]).buffer)[0])},draw(d,u,m,w,$,h){n.get(d)?.key!==o.key&&n.set(d,{key:o.key,shades:He(d,o)});let{shades:y}=n.get(d),[f,b]=$t(w,$,d.left,d.top).map(P=>P*s),k=d.side*st(w,$)*s/65536,C=o.colours.map(([,,,P])=>Math.max(1,Math.round(h*s*P))),{width:g,height:M}=a;for(let P=u;P<m;P+=1){let Y=y[P],U=C[Y],q=Math.round(f+d.x[P]*k-U/2),T=Math.round(b+d.y[P]*k-U/2);if(q+U<=0||T+U<=0||q>=g||T>=M)continue;let et=Math.min(g,q+U);for(let E=Math.max(0,T);E<Math.min(M,T+U);E+=1)for(let O=E*g+Math.max(0,q),D=E*g+et;O<D;O+=1)Y>c[O]||(c[O]=Y,l[O]=p[Y])}},show(){e.putImageData(a,0,0)}}}var In=4,Fn=6e5;function Ge(t,e,n){let o=new Map,s=new Set,a=new AbortController,l=[],c=0,p=()=>{for(;s.size<In&&l.length;){let d=l.shift(),u=d.slice(0,3).join("/");s.has(u)||o.has(u)||(s.add(u),_.mapTile(u,t.state,a.signal).then(m=>{o.set(u,De(m,pe(t,d))),c+=d[3],e()}).catch(m=>{a.signal.aborted||n(m)}).finally(()=>{s.delete(u),p()}))}};return{take(d){let u=[],m=[];for(let[w,$]of d){let h=w.slice(0,3).join("/"),y=o.get(h);if(!y){m.push(w);continue}o.delete(h),o.set(h,y),u.push([y,Math.min($,y.x.length)])}for(let[w,$]of o){if(c<=Fn||o.size<=u.length)break;o.delete(w),c-=$.x.length}return l=m,p(),u},close:()=>a.abort()}}var jn=.15,Jt=1.4,Bn=9,Un=4,Wn=250,Kn=15e4,[Hn,Gn]=[8e3,6e4],qn=20,Vn=300,zn=64,te=3e4;function Yn(t){te=t>qn?Math.max(Hn,te*.75):Math.min(Gn,te*1.03)}function Xn({painter:t,tiles:e,plane:n,frame:o,size:s,style:a,radius:l},c,p){let d=new Map,u=!0,m=0,w=$=>{requestAnimationFrame(k=>Yn(k-$));let h=Math.floor(te),y=h,f=(k,C)=>{let g=d.get(k)??0,M=Math.min(C,g+y);M<=g||(t.draw(k,g,M,o,s,l),d.set(k,M),y-=M-g)};if(u){t.clear(s,a);for(let[k,C]of e.take(me(n,o,s,h)))f(k,C);u=!1}let b=e.take(me(n,o,s,Kn));for(let[k,C]of b)y&&f(k,C);t.show(),c(h-y),m=0,b.some(([k,C])=>(d.get(k)??0)<C)?m=requestAnimationFrame(w):p(b)};return m=requestAnimationFrame(w),{stop:()=>cancelAnimationFrame(m),more:()=>{m||=requestAnimationFrame(w)}}}function Qn(t,e,n){let o=[],[[s,a],,[l,c]]=Yt(e,n);for(let[d,u]of t){let[m,w,$,h]=[s-d.left,l-d.left,a-d.top,c-d.top].map(y=>y*65536/d.side);for(let y=0;y<u;y+=1){if(d.x[y]<m||d.x[y]>w||d.y[y]<$||d.y[y]>h)continue;let f=Xt(d,y),[b,k]=$t(e,n,...f);if(o.push({id:d.images[y],at:f,x:b,y:k,tile:d,row:y})>Vn)return[]}}let p=[];for(let d of o)p.every(({x:u,y:m})=>Math.max(Math.abs(u-d.x),Math.abs(m-d.y))>zn)&&p.push(d);return p}function Zn(t,e,n){let o=[];return t.areas.forEach(({entities:s,type:a,x:l,y:c},p)=>{let d=s[0]||a,[u,m]=$t(e,n,l,c),w=Math.min(90,10+4*d.length);!d||u<w||m<56||u>n.width-w||m>n.height-14||o.every($=>Math.abs($.top-m)>24||Math.abs($.left-u)>$.half+w)&&o.push({place:p,name:d,left:u,top:m,half:w})}),o}function qe({plane:t,tiles:e,turn:n,style:o,frame:s,onFrame:a,lasso:l,marked:c,onLasso:p,onOpen:d}){let u=j(null),m=j(null),w=j([]),$=j(null),[h,y]=v(!1),[f,b]=v(null),[k,C]=v(null),[g,M]=v([]),[P,Y]=v(null),U=j(null),q=j(new Map),T=()=>({width:u.current.clientWidth,height:u.current.clientHeight,bounds:t.bounds}),et=Math.min(7,(t.images>2e4?2:t.images>2e3?3.6:6.4)*Math.sqrt(s.zoom));Ee.value;let E=u.current&&o(u.current);we(()=>{if(!P)return;m.current??=fe(u.current);let x=0,S=u.current;return $.current=Xn({painter:m.current,tiles:e,plane:t,frame:s,size:P,style:E,radius:et},L=>{S.dataset.marks=String(L)},L=>{w.current=L,S.dataset.drawn=String(L.reduce((R,[,V])=>R+V,0)),clearTimeout(x),x=setTimeout(()=>M(Qn(L,s,P)),Wn)}),()=>{$.current.stop(),clearTimeout(x)}},[t,e,s,E?.key,P]),A(()=>$.current?.more(),[n]),A(()=>{let x=u.current,S=()=>Y(T());S();let L=new ResizeObserver(S);L.observe(x);let R=wt=>{wt.preventDefault();let[on,rn]=O(wt);a(sn=>St(sn,T(),Math.exp(-wt.deltaY/400),on,rn))},V=wt=>wt.preventDefault(),be=()=>{m.current=fe(x),S()};return x.addEventListener("wheel",R,{passive:!1}),x.addEventListener("webglcontextlost",V),x.addEventListener("webglcontextrestored",be),()=>{L.disconnect(),x.removeEventListener("wheel",R),x.removeEventListener("webglcontextlost",V),x.removeEventListener("webglcontextrestored",be)}},[t]);let O=x=>{let S=u.current.getBoundingClientRect();return[x.clientX-S.left,x.clientY-S.top]},D=(x,S)=>Ie(w.current,...mt(s,T(),x,S),Bn/st(s,T())),F=()=>{let[[x,S],[L,R]]=q.current.values();return{apart:Math.max(1,Math.hypot(x-L,S-R)),middle:[(x+L)/2,(S+R)/2]}},Z=x=>{if(x.button)return;x.currentTarget.setPointerCapture(x.pointerId);let[S,L]=O(x);q.current.set(x.pointerId,[S,L]),C(null),b(null),q.current.size===2?U.current={frame:s,pinch:F()}:q.current.size===1?U.current={x:S,y:L,frame:s,path:h||x.shiftKey?[mt(s,T(),S,L)]:null}:U.current=null},Mt=x=>{let[S,L]=O(x),R=U.current;if(q.current.has(x.pointerId)&&q.current.set(x.pointerId,[S,L]),R?.pinch){let V=F();a(()=>zt(R.frame,T(),V.apart/R.pinch.apart,R.pinch.middle,V.middle))}else if(R?.path)R.path.push(mt(s,T(),S,L)),b([...R.path]);else if(R)a(()=>zt(R.frame,T(),1,[R.x,R.y],[S,L]));else{let V=x.pointerType==="mouse"?D(S,L):null;C(V&&{id:V.tile.images[V.row],x:S,y:L})}},ee=()=>{q.current.clear(),U.current=null,b(null)},en=x=>{let S=U.current;if(ee(),!S||S.pinch)return;let[L,R]=O(x),V=!S.path&&Math.hypot(L-S.x,R-S.y)<Un&&D(L,R);S.path?.length>2?p(S.path):V&&d(V.tile.images[V.row])},nn=x=>{let S={ArrowLeft:[-1,0],ArrowRight:[1,0],ArrowUp:[0,-1],ArrowDown:[0,1]}[x.key],L=jn*Math.min(T().width,T().height)/st(s,T());if(!(x.altKey||x.ctrlKey||x.metaKey)){if(S)a(R=>Vt({...R,x:R.x+S[0]*L,y:R.y+S[1]*L},t.bounds));else if(x.key==="+"||x.key==="=")a(R=>St(R,T(),Jt));else if(x.key==="-")a(R=>St(R,T(),1/Jt));else if(x.key==="0"||x.key==="Home")a(()=>Et(t.bounds));else if(x.key==="Enter")p(Yt(s,T()));else if(x.key==="Escape"&&U.current)ee();else return;x.preventDefault()}},ne=(x,S,L)=>i`<button class="button" aria-label=${S} title=${S}
    onClick=${()=>{a(R=>x?St(R,T(),x):Et(t.bounds)),H(S)}}>${L}</button>`,oe=x=>P&&$t(s,P,...x),ge=([x,S])=>({transform:`translate(${x}px, ${S}px)`}),re=P&&(f??l)?.map(x=>oe(x).map(S=>S.toFixed(1)).join()).join(" ");return i`<div class="map-frame">
    <div class="map-tools" role="group" aria-label=${r("view.map")}>
      <button class="button" aria-pressed=${h} onClick=${()=>y(!h)}><${I} name="lasso" />${r("map.lasso")}</button>
      ${ne(Jt,r("map.zoomIn"),"+")}${ne(1/Jt,r("map.zoomOut"),"−")}${ne(0,r("map.showAll"),r("map.all"))}
    </div>
    <canvas ref=${u} class=${h?"drawing":""} tabindex="0" role="application" aria-roledescription=${r("map.role")}
      data-zoom=${s.zoom.toFixed(2)} data-centre=${`${Math.round(s.x)},${Math.round(s.y)}`}
      aria-label=${r("map.help")}
      onPointerDown=${Z} onPointerMove=${Mt} onPointerUp=${en} onPointerCancel=${ee}
      onPointerLeave=${()=>C(null)} onKeyDown=${nn} />
    ${P&&i`<div class="map-over" aria-hidden="true">
      ${g.map(({id:x,at:S,tile:L,row:R})=>i`<div key=${x} class="map-image" style=${{...ge(oe(S)),borderColor:Jn(E,L,R)}}>
        <${Q} image=${{id:x}} /></div>`)}
      <svg>${re&&i`<polygon class="lasso-edge" points=${re} /><polygon points=${re} />`}
        ${c.map(x=>{let[S,L]=oe(x);return i`<circle key=${x.join()} cx=${S} cy=${L} r="6" />`})}</svg>
      ${Zn(t,s,P).map(({place:x,name:S,left:L,top:R})=>i`<span key=${x} class="map-name"
        style=${ge([L,R])}><span>${S}</span></span>`)}
    </div>`}
    ${k&&i`<div class="map-near" style=${{left:`${k.x}px`,top:`${k.y}px`}}>
      <${Q} key=${k.id} image=${{id:k.id}} /></div>`}
  </div>`}function Jn({colours:t,shade:e},n,o){return`rgb(${t[e(n,o)].slice(0,3).map(s=>s*255).join(" ")})`}var to=300,[eo,no]=[500,100],Ve=[],oo=.86;function ro(){let[t,e]=v(null),[n,o]=v(null),[s,a]=v(0);A(()=>{let p=!0;return _.map().then(d=>p&&e(d),d=>p&&o(d)),()=>{p=!1}},[s]);let l=()=>{o(null),a(s+1)},c=p=>p instanceof ke&&p.status===409?a(s+1):o(p);return i`<h1>${r("view.map")}</h1>${n?i`<${B} error=${n} retry=${l} />`:t?t.images?i`<${uo} plane=${t} onError=${c} />`:i`<${K} title=${r("map.none")}><p>${t.note}</p><//>`:i`<${W} />`}`}function so(t){let{types:e}=t;return{"":{title:r("types"),of:(n,o)=>n.type[o],names:[...e.map(({type:n,images:o},s)=>[lt(n)||n,s+1,o]),[r("map.otherTypes"),0,t.other],[r("map.noLabel"),0,t.unlabelled]]},probability:{title:r("map.byProbability"),of:(n,o)=>{let s=(n.probability[o]-1)/254;return s<0?4:s>=.95?0:s>=.8?1:s>=.5?2:3},names:[[r("map.from95"),4],[r("map.from80"),2],[r("map.from50"),1],[r("map.below50"),6],[r("map.noLabel"),0]]},verdict:{title:r("map.byVerdict"),of:(n,o)=>(n.verdict[o]+3)%4,names:[[r("said.right"),4],[r("said.wrong"),6],[r("said.unsure"),3],[r("map.unjudged"),0]]}}}function io(t,{names:e}){let n=getComputedStyle(t),o=l=>{let c=n.getPropertyValue(l).trim().slice(1).replace(/^(.)(.)(.)$/,"$1$1$2$2$3$3");return[0,2,4].map(p=>Number.parseInt(c.slice(p,p+2),16)/255)},s=o("--surface"),a=Array.from({length:Zt},(l,c)=>[...o(e[c]?.[1]?`--map-${e[c][1]}`:"--map-rest"),c===e.length-1?.6:1]);return[...a,...a.map(([l,c,p,d])=>[...[l,c,p].map((u,m)=>u+(s[m]-u)*oo),d])]}function ao(t){let{params:e}=z.value,n=e.get("at")??"",[o,s]=v(()=>$e(n,t.bounds)),a=j(n);A(()=>{n!==a.current&&(a.current=n,s($e(n,t.bounds)))},[n]);let l=(c,p=!1)=>{let d=new URLSearchParams(z.value.params);Object.entries(c).forEach(([u,m])=>m?d.set(u,m):d.delete(u)),tt(N(["map"],d),p)};return A(()=>{let c=setTimeout(()=>{let p=Ue(o,t.bounds);p===a.current||z.value.view!=="map"||(a.current=p,l({at:p},!0))},to);return()=>clearTimeout(c)},[o]),{params:e,frame:o,setFrame:s,set:l}}function lo(t,e,n,o){let[s,a]=v(null);return A(()=>{if(a(null),!e&&n===null)return;let l=new AbortController;return _.mapChosen(e?{lasso:Qt(e)}:{area:n},l.signal).then(c=>{a(c),H(`${r("map.chosen",{count:c.total})}.`)},c=>{l.signal.aborted||o(c)}),()=>l.abort()},[t,e,n]),s}function co(t,e){let n=Oe(t)?JSON.stringify(It(t)):"",[o,s]=v(Ve);return A(()=>{if(s(Ve),!n)return;let a=new AbortController;return(async()=>{let{hits:l,end:c}=await _.search({...JSON.parse(n),limit:eo},a.signal),p=l.slice(0,c||no).map(({image:m})=>m.id),{x:d,y:u}=p.length?await _.mapPlaces(p,a.signal):{x:[],y:[]};s(d.map((m,w)=>[m,u[w]])),H(r("map.marked",{count:d.length}))})().catch(l=>{a.signal.aborted||e(l)}),()=>a.abort()},[n]),{asked:n,marked:o}}function uo({plane:t,onError:e}){let{params:n,frame:o,setFrame:s,set:a}=ao(t),[l,c]=v(null),[p,d]=v(0),{open:u,detail:m}=ce(["map"]),w=Qt(n.get("lasso")??"")?n.get("lasso"):"",$=se(()=>w?Qt(w):null,[w]),h=n.has("area")?Number(n.get("area")):null,y=!w&&t.areas[h]?h:null,f=lo(t,w,y,e),b=Ce(n),{asked:k,marked:C}=co(b,e);A(()=>{ht(b.entity)},[b.entity]);let g=b.text||at.value[b.entity]||b.entity,M=se(()=>Ge(t,()=>d(T=>T+1),e),[t]);A(()=>M.close,[M]);let P=so(t),Y=n.get("colour")??"",U=Object.hasOwn(P,Y)?Y:"",q=T=>{let et=io(T,P[U]),{of:E}=P[U],O=(D,F,Z)=>(l===null||l===Z)&&(y===null||D.area[F]===y)&&(!$||Fe($,...Xt(D,F)));return{key:[et,U,l,y,w].join("|"),colours:et,shade:(D,F)=>{let Z=Math.min(Zt-1,E(D,F));return O(D,F,Z)?Z:Z+Zt}}};return i`
    <p class="lead">${r("map.lead",{count:t.images})}${t.missing>0&&` ${r("map.missing",{count:t.missing})}`}</p>
    ${k&&i`<div class="results-head"><p>${r(g?"map.markedFor":"map.markedSearch",{what:g,images:i`<strong>${r("images",{count:C.length})}</strong>`})}</p>
      <button class="button" onClick=${()=>a(Object.fromEntries([...pt(b).keys()].map(T=>[T,""])))}>${r("map.markNone")}</button></div>`}
    <div class="map">
      <${qe} plane=${t} tiles=${M} turn=${p} style=${q} frame=${o} onFrame=${s} lasso=${$} marked=${C}
        onLasso=${T=>a({lasso:Be(T),area:""})} onOpen=${u} />
      <div class="map-side">
        <${po} ways=${P} way=${U} bright=${l} onBright=${c}
          onWay=${T=>{c(null),a({colour:T},!0)}} />
        <${mo} plane=${t} area=${y} params=${n} />
      </div>
    </div>
    ${f&&i`<${$o} key=${`${w} ${y}`} chosen=${f}
      onOpen=${T=>u(T.id,T)} onNone=${()=>a({lasso:"",area:""})} />`}
    ${m}`}function po({ways:t,way:e,bright:n,onBright:o,onWay:s}){let{names:a}=t[e];return i`<section aria-labelledby="legend"><h2 id="legend">${t[e].title}</h2>
    <label class="field inline"><span>${r("map.colours")}</span> <select value=${e} onChange=${l=>s(l.currentTarget.value)}>
      ${Object.entries(t).map(([l,{title:c}])=>i`<option key=${l} value=${l} selected=${l===e}>${c}</option>`)}</select></label>
    <ul class="legend">${a.map(([l,c,p],d)=>p!==0&&i`<li key=${l}>
      <button type="button" aria-pressed=${n===d} title=${r("map.standOut",{name:l})}
        onClick=${()=>o(n===d?null:d)}>
        <span class=${`swatch ${c?`of-${c}`:d===a.length-1?"small":""}`} />
        <span>${l}</span>${p!==void 0&&i` <span class="figure">${it(p)}</span>`}</button></li>`)}</ul></section>`}function mo({plane:t,area:e,params:n}){let o=s=>{let a=new URLSearchParams(n);return a.delete("lasso"),s===e?a.delete("area"):a.set("area",String(s)),N(["map"],a)};return i`<section aria-labelledby="areas"><h2 id="areas">${r("map.areas")}</h2>
    <ol class="areas">${t.areas.map(({images:s,entities:a,type:l},c)=>i`<li key=${c}>
      <a href=${o(c)} aria-current=${c===e?"true":void 0}>
        <span>${a.join(", ")||l||r("map.area",{place:c+1})}</span> <span class="figure">${r("images",{count:s})}</span></a></li>`)}</ol>
  </section>`}function $o({chosen:{total:t,images:e},onOpen:n,onNone:o}){let s=j(null);return A(()=>{s.current.getBoundingClientRect().top>innerHeight-60&&s.current.scrollIntoView({block:"center"})},[]),i`<section aria-labelledby="chosen">
    <div class="results-head"><h2 id="chosen" ref=${s}>${r("map.chosen",{count:t})}</h2>
      <button class="button" onClick=${o}>${r("map.chooseNone")}</button></div>
    ${t>e.length&&i`<p class="note" role="note">${r("map.first",{count:e.length})}</p>`}
    ${t?i`<${le} ids=${e} picked onOpen=${n} />`:i`<${K} title=${r("map.empty")}><p>${r("map.emptyHint")}</p><//>`}
  </section>`}var ze=50,fo={dateStyle:"medium",timeStyle:"short"};function Ye(){let t=ut.value,[e,n]=v(null),[o,s]=v(!1),[a,l]=v(null),c=async m=>{l(null);try{await m()}catch(w){l(w)}},p=m=>c(async()=>{let w=await _.history({who:t,limit:ze,offset:m.length});ut.value===t&&(n([...m,...w]),s(w.length===ze))});A(()=>{n(null),p([])},[t]);let d=m=>c(async()=>{await gt([m.verdict.id]),n(w=>w.filter($=>$!==m)),H(r("verdict.undone",{name:m.entity.name}))}),u=a&&i`<${B} error=${a} retry=${()=>p(e??[])} />`;return e?i`${u}
    ${e.length===0&&i`<${K} title=${r("history.none")}><p>${t?r("history.noneBy",{who:t}):r("history.noneUnnamed")}</p><//>`}
    <ol class="history" aria-label=${r("history.title")}>${e.map(m=>i`<${ho} key=${m.verdict.id} row=${m} onUndo=${()=>d(m)} />`)}</ol>
    ${o&&i`<p class="center"><button class="button" onClick=${()=>p(e)}>${r("more")}</button></p>`}`:u||i`<${W} />`}function ho({row:t,onUndo:e}){let{verdict:n,image:o,entity:s,instead:a}=t;return i`<li>
    <span class="small-image">${o&&i`<${Q} image=${o} />`}</span>
    <div><p><span class=${`said ${n.verdict}`}>${X(n.verdict)}</span> <a href=${N(["entity",s.id])}>${s.name}</a>${a&&r("history.instead",{name:i`<a href=${N(["entity",a.id])}>${a.name}</a>`})}</p>
      <p class="faint">${o?i`<a href=${N(["images"],{ids:o.id,show:o.id})}>${ot(o)}</a>`:r("history.gone",{place:`${n.shard} · ${n.key}`})}
        ${" · "}<time datetime=${n.when}>${ft(new Date(n.when),fo)}</time></p></div>
    <button class="button small" aria-label=${r("history.undo",{name:s.name,said:X(n.verdict)})} onClick=${e}><${I} name="undo" />${r("undo")}</button></li>`}var Xe=150,he=8,yo=300;function go(){let t=(document.querySelector("main")?.clientWidth??innerWidth)-(innerWidth>760?48:32),e=Math.max(2,Math.floor((t+he)/(ie(Xe)+he)));return Math.min(60,e*Math.max(3,Math.floor((innerHeight-yo)/(t/e))))}function Qe({entity:t,name:e}){let[n,o]=v(null),[s,a]=v({}),[l,c]=v(new Set),[p,d]=v([]),[u,m]=v(null),[w,$]=v(!1),[h,y]=v(0),f=j(null),b=j(null),k=async()=>{m(null);try{o(await _.review({entity:t,order:"doubt",accepted:!0,who:ut.value,limit:go()})),a({}),y(0)}catch(E){m(E)}};A(()=>{k()},[]);let C=async()=>{if(!(w||!n?.length)){if([...f.current.querySelectorAll("img")].some(E=>!E.complete)){H(r("pager.early"));return}$(!0),m(null);try{let E=await Lt(n.map(({image:D})=>({image:D,entity:t,value:M(D)}))),O=n.filter(({image:D})=>s[D.id]==="n").length;H(r("pager.taken",{count:n.length,wrong:O})),d([...p,{ids:E,page:n,values:s}]),await k(),f.current?.querySelector("button")?.focus()}catch(E){m(E)}finally{$(!1)}}},g=async()=>{let E=p.at(-1);if(!(w||!E)){$(!0);try{await gt(E.ids),d(p.slice(0,-1)),o(E.page),a(E.values),H(r("pager.undone"))}catch(O){m(O)}finally{$(!1)}}},M=E=>s[E.id]??(l.has(E.id)?"u":"y"),P=(E,O)=>{let D=n[E]?.image.id;D!==void 0&&a(F=>({...F,[D]:O}))},Y=(E,O)=>{let{id:D}=n[E].image;a(F=>({...F,[D]:M({id:D})===O?"y":O}))};ct(E=>{if(E.key==="z")return g(),!0;if(!n?.length)return!1;let O=Math.max(1,Math.round(f.current.clientWidth/(f.current.firstElementChild.offsetWidth+he))),D={ArrowLeft:-1,ArrowRight:1,ArrowUp:-O,ArrowDown:O}[E.key],F=f.current.contains(document.activeElement),Z=F||document.activeElement===document.body||document.activeElement?.id==="main";if(E.key==="Enter"&&Z)!E.repeat&&C();else if(E.key==="n"||E.key==="x"||E.key===" "&&F)Y(h,"n");else if(E.key==="u")Y(h,"u");else if(E.key==="y")P(h,"y");else if(D&&Z){let Mt=Math.max(0,Math.min(n.length-1,h+D));y(Mt),f.current.querySelectorAll("button")[Mt].focus()}else return!1;return!0});let U=(E,O)=>{if(E.pointerType==="touch"||E.button)return;let D=M(n[O].image)==="n"?"y":"n";b.current=D,P(O,D);let F=()=>{setTimeout(()=>{b.current=null}),removeEventListener("pointerup",F)};addEventListener("pointerup",F)},q=E=>{if(!b.current||!E.buttons)return;let O=document.elementFromPoint(E.clientX,E.clientY)?.closest("[data-place]")?.dataset.place;O!==void 0&&P(Number(O),b.current)},T=n?.filter(({image:E})=>M(E)!=="y").length??0,et=u&&i`<${B} error=${u} retry=${n?void 0:k} />`;return n?i`
    ${et}
    ${n.length===0?i`<${K} title=${r("pager.done")}>
        <p>${r("pager.next",{entity:i`<a href=${N(["entity",t])}>${r("pager.entity")}</a>`,other:i`<a href="#/review">${r("pager.other")}</a>`})}</p><//>`:i`<p class="keys">${r("pager.keys",{arrows:i`<kbd>←</kbd><kbd>→</kbd><kbd>↑</kbd><kbd>↓</kbd>`,wrong:i`<kbd>n</kbd>`,space:i`<kbd>${r("key.space")}</kbd>`,unsure:i`<kbd>u</kbd>`,enter:i`<kbd>${r("key.enter")}</kbd>`,undo:i`<kbd>z</kbd>`})}</p>
        <div class="judge-grid" ref=${f} role="group" aria-label=${r("pager.grid",{name:e})}
          style=${{"--least":`${ie(Xe)}px`}} onPointerMove=${q}>
          ${n.map(({image:E},O)=>{let D=M(E);return i`<button key=${E.id} type="button" class=${`judge ${D}`} data-place=${O}
                tabindex=${O===h?0:-1} aria-label=${`${ot(E)}: ${X(D)}`}
                onFocus=${()=>y(O)} onPointerDown=${F=>U(F,O)}
                onKeyDown=${F=>{F.key==="Enter"&&F.preventDefault()}}
                onClick=${F=>{F.detail&&!b.current&&Y(O,"n")}}>
              <${Q} key=${E.id} image=${E} onGone=${()=>c(F=>new Set(F).add(E.id))} />
              <span class="mark"><${I} name=${{y:"check",n:"close",u:"question"}[D]} /></span>
            </button>`})}
        </div>`}
    <div class="judge-bar">
      <button class="button main" disabled=${w||!n.length} onClick=${C}>
        <${I} name="check" />${r("pager.take",{right:n.length-T,wrong:T})}</button>
      <button class="button" disabled=${w||!p.length} onClick=${g}><${I} name="undo" /><span class="undo">${r("undo")}</span></button>
      <p class="faint">${p.length>0&&r("pager.judged",{count:p.reduce((E,O)=>E+O.page.length,0)})}</p>
    </div>`:et||i`<${W} />`}function Ze({entity:t}){let[e,n]=v(null);if(A(()=>{let p=!0;return _.precision(t).then(d=>p&&n(d),()=>{}),()=>{p=!1}},[yt.value,t]),!e?.judged)return null;let{precision:o,lower:s,upper:a,judged:l,labels:c}=e;return i`<p class="precision" role="note">
    <span class="interval" aria-hidden="true"><span class="range" style=${{left:`${s*100}%`,width:`${(a-s)*100}%`}} />
      <span class="point" style=${{left:`${o*100}%`}} /></span>
    <span>${r("precision.sentence",{precision:i`<strong>${G(o)}</strong>`,lower:G(s),upper:G(a),verdicts:r("precision.verdicts",{count:l}),labels:r("labels",{count:c})})}</span></p>`}var bo=20,wo=9,Je={y:"single.saidYes",n:"single.saidNo",u:"said.unsure"},ko={minimumFractionDigits:2,maximumFractionDigits:2},ye=({image:t,entity:e})=>`${t.id} ${e.id}`;function tn({entity:t}){let[e,n]=v(null),[o,s]=v([]),[a,l]=v(null),{current:c}=j(new Set),p=j(!1),d=async()=>{l(null);try{let b=await _.review({entity:t,order:"active",accepted:!0,who:ut.value,limit:bo+c.size});n(b.filter(k=>!c.has(ye(k))))}catch(b){l(b)}};A(()=>{d()},[]);let u=e?.[0],m=()=>(c.add(ye(u)),w()),w=async()=>e.length>1?n(e.slice(1)):d(),$=async(b,k="",C="")=>{if(!(p.current||!u)){p.current=!0,l(null);try{let g=await Lt([{image:u.image,entity:u.entity.id,value:b,instead:k}]);s([...o,{ids:g,item:u,value:b,name:C}]),H(C?r("single.is",{name:C}):r("single.given",{said:r(Je[b])})),await w()}catch(g){l(g)}finally{p.current=!1}}},h=async()=>{let b=o.at(-1);if(!(p.current||!b)){p.current=!0;try{await gt(b.ids),s(o.slice(0,-1)),n([b.item,...e??[]]),H(r("single.undone"))}catch(k){l(k)}finally{p.current=!1}}};ct(b=>b.key!=="z"||b.repeat?!1:(h(),!0));let y=o.at(-1),f=a&&i`<${B} error=${a} retry=${e?void 0:d} />`;return i`${f}
    ${!e&&!a&&i`<${W} />`}
    ${e&&(u?i`<${vo} key=${ye(u)} item=${u} onDecide=${$} onSkip=${m} />`:i`<${K} title=${r("single.done")}><p>${r(t?"single.noneLeft":"single.noLabelLeft")}
          ${" "}<a href="#/review">${r("single.choose")}</a></p><//>`)}
    <div class="judge-bar">
      <button class="button" disabled=${!y} onClick=${h}><${I} name="undo" /><span class="undo">${r("undo")}</span></button>
      <p class="faint" data-last>${y&&r(y.name?"single.lastInstead":"single.last",{name:y.item.entity.name,said:r(Je[y.value]),instead:y.name,share:G(y.item.probability),count:o.length})}</p>
    </div>`}function vo({item:t,onDecide:e,onSkip:n}){let{image:o,entity:s}=t,[a,l]=v(null),[c,p]=v(null),[d,u]=v(!1);A(()=>{let g=!0;return _.reading(o.id).then(M=>g&&p(M),()=>{}),_.recogniseImage(o.id).then(M=>g&&l(M.entities),()=>g&&l([])),()=>{g=!1}},[]);let m=a?.find(g=>g.entity.id===s.id)?.evidence??[],w=c?.candidates??[],$=new Set(w.filter(g=>g.entity===s.id).map(g=>g.mention)),h=[...new Set([...$].map(g=>c.mentions[g]?.kind).filter(Boolean))],y=new Map(w.map(g=>[g.entity,g.description])),f=new Map(w.filter(g=>$.has(g.mention)).map(g=>[g.entity,g.name]));o.labels.forEach(g=>f.set(g.entity,g.name)),a?.filter(g=>(g.probability??1)>=Bt).forEach(g=>{f.set(g.entity.id,g.entity.name),y.set(g.entity.id,g.entity.description)}),f.delete(s.id);let b=[s.name,...f.values()],k=c?.text===o.text&&$.size?Rt(o.text,c.mentions.map(({start:g,end:M},P)=>({start:g,end:M,kind:$.has(P)?"meant":"other"}))):Tt(o.text,[s.name,...s.aliases]),C=[...f].slice(0,wo);return ct(g=>{if(g.repeat)return!1;let M=C[Number(g.key)-1];if(["y","n","u"].includes(g.key))e(g.key);else if(g.key==="s")n();else if(g.key==="i")u(!0);else if(M)e("n",...M);else return!1;return!0}),i`<div class="single">
    <div class="stage"><button class="plain" aria-label=${r("detail.closely")} onClick=${()=>jt(o)}>
      <${bt} src=${J(o.id)} alt=${o.text?"":o.key} width=${o.width} height=${o.height} /></button></div>
    <div class="about">
      <h2 class="question">${r("verdict.ask",{name:i`<a href=${N(["entity",s.id])}>${s.name}</a>`})}</h2>
      ${s.description&&i`<p class="lead">${s.description}</p>`}
      ${o.text&&i`<blockquote class="caption">${k.map(g=>g.mark?i`<mark class=${g.mark}>${g.text}</mark>`:g.text)}</blockquote>`}
      ${h.length>0&&i`<p class="faint named-in">${r("single.namedIn",{kinds:h.join(", ")})}</p>`}
      <div class="verdicts" role="group" aria-label=${r("single.verdict")}>
        <button class="button yes" onClick=${()=>e("y")}><${I} name="check" />${r("single.yes")} <kbd>y</kbd></button>
        <button class="button no" onClick=${()=>e("n")}><${I} name="close" />${r("single.no")} <kbd>n</kbd></button>
        <button class="button" onClick=${()=>e("u")}><${I} name="question" />${r("single.unsure")} <kbd>u</kbd></button>
        <button class="button" onClick=${n}>${r("single.skip")} <kbd>s</kbd></button>
      </div>
      <section aria-label=${r("single.thisInstead")}><h3>${r("single.thisInstead")}</h3>
        <ul class="chips">${C.map(([g,M],P)=>i`<li key=${g}><span class="chip">
          <button type="button" class="chip-text" title=${y.get(g)} onClick=${()=>e("n",g,M)}><kbd>${P+1}</kbd> ${M}${b.indexOf(M)!==b.lastIndexOf(M)&&y.get(g)&&i` <span class="homonym">${y.get(g)}</span>`}</button></span></li>`)}
          ${!d&&i`<li key="another"><span class="chip"><button type="button" class="chip-text" onClick=${()=>u(!0)}>
            <kbd>i</kbd> ${r("single.another")}</button></span></li>`}</ul>
        ${d&&i`<div class="instead"><${Pt} label=${r("single.instead")} placeholder=${r("entityName")} focused
          onEntity=${g=>e("n",g.id,g.name)} /></div>`}</section>
      ${m.length>0&&i`<section aria-label=${r("single.evidence")}><h3>${r("single.near",{name:s.name})}</h3>
        <div class="evidence">${m.map(([g,M])=>i`<span key=${g.id} class="small-image" title=${r("single.similarity",{value:ft(M,ko)})}>
          <${Q} image=${g} /></span>`)}</div></section>`}
    </div>
  </div>`}function xo(){let{rest:[t="",e=""]}=z.value;A(()=>ht(e),[e]);let n=at.value[e]??e;if(xe.value.has(e))return i`<h1 class="unseen">${r("view.review")}</h1><${K} title=${r("review.unknown",{entity:e})}>
    <p><a href="#/review">${r("review.another")}</a></p><//>`;if(t&&!["grid","single","history"].includes(t))return i`<h1 class="unseen">${r("view.review")}</h1><${K} title=${r("app.noView")}>
    <p><a href="#/review">${r("review.back")}</a></p><//>`;let o=t==="grid"&&e;return i`
    <header class="review-head">
      <div>
        <h1>${o?n:t==="single"?e?n:r("review.single"):r(t==="history"?"review.history":"view.review")}</h1>
        ${t!=="single"&&i`<p class="lead">${r(o?"review.gridLead":t==="history"?"review.historyLead":"review.lead")}</p>`}
      </div>
      <div class="review-tools">
        <${Me} />
        ${t&&i`<nav aria-label=${r("review.ways")} class="actions">
          ${o?i`<a class="button" href=${N(["review","single",e])}>${r("review.oneByOne")}</a>`:e&&i`<a class="button" href=${N(["review","grid",e])}>${r("review.asGrid")}</a>`}
          <a class="button" href="#/review">${r("review.others")}</a></nav>`}
      </div>
    </header>
    <${Ze} entity=${e} />
    ${o?i`<${Qe} key=${e} entity=${e} name=${n} />`:t==="history"?i`<${Ye} />`:t==="single"?i`<${tn} key=${e} entity=${e} />`:i`<p class="actions"><a class="button main" href="#/review/single">${r("review.judge")}</a>
            <a class="button" href="#/review/history">${r("review.history")}</a>
            <a class="button" href="api/verdicts.parquet" download>${r("review.parquet")}</a></p>
          <h2>${r("view.entities")}</h2>
          <${ue} path=${["review"]} target=${s=>N(["review","grid",s.id])}
            tail=${s=>r("labels",{count:s.images})} />`}`}export{vt as Detail,En as Entities,Cn as Entity,fn as ExampleDialog,vn as Images,ro as MapView,kn as Rail,xo as Review};
