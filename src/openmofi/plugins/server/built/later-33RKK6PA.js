import{$ as bt,A as Q,C as N,D as nt,E as Tt,H as Me,J as le,K as D,L as G,N as U,O as K,P as W,Q as Rt,R as q,S as dt,T as Lt,U as rt,V as Pt,W as Nt,X as pt,Y as Ae,Z as st,_ as Oe,aa as _t,b as v,ba as wt,c as A,ca as Dt,d as ve,da as J,e as B,ea as Ce,f as ae,fa as It,ga as ce,h as i,ha as Ft,ia as mt,j as ct,ja as tt,k as yt,ka as jt,l as r,la as xt,m as xe,ma as Te,na as $t,oa as Bt,p as P,pa as Re,q as Ee,r as et,ra as Ut,sa as Le,ta as Pe,u as ut,v as Se,y as ot,z as gt}from"./chunk-CTUWU3UB.js";async function Wt(t){let{default:e}=await import("./photoswipe.esm-5BWHUGVW.js"),{width:n,height:o}=t.width?t:{width:1600,height:1200};new e({dataSource:[{src:et(t.id),msrc:Ee(t),width:n,height:o,alt:rt(t)}],appendToEl:document.querySelector("dialog[open]")??document.body,showHideAnimationType:"none",bgOpacity:.94,zoom:!0,arrowKeys:!1,maxZoomLevel:8,closeTitle:r("close"),zoomTitle:r("closely.zoom"),errorMsg:r("closely.failed")}).init()}var cn=3,Ne={below_threshold:"why.threshold",sibling_preferred:"why.sibling",beyond_top_k:"why.beyond"};function un(t,e,n){let o=new Map(t.labels.map(a=>[a.entity,{...a,candidate:null}]));for(let a of e?.candidates??[]){let l=o.get(a.entity)??{...a,candidate:null};o.set(a.entity,{...l,candidate:l.candidate??a})}for(let[a,l]of n)o.has(a)||o.set(a,{entity:a,name:ut.value[a]??a,probability:null,by:l.who});let s=a=>a.accepted||a.probability===null?1:0;return[...o.values()].sort((a,l)=>s(l)-s(a)||(l.probability??0)-(a.probability??0))}function dn(t,e){let{prior:n,link_score:o,image_score:s,reason:a}=t,l=e.mentions[t.mention],c=[n!==null&&r("why.prior",{share:q(n)}),o!==null&&o>=0&&o<=1&&r("why.link",{share:q(o)})].filter(Boolean).join(", "),p=e.candidates.filter($=>$.image_score!==null),d=p.filter($=>$.mention===t.mention),u=d.length>1?d:p,m=u.reduce(($,y)=>y.image_score>$.image_score?y:$,t),w=s!==null&&u.length>1&&(m.entity===t.entity?r("why.closest",{count:u.length}):r("why.closer",{name:m.name}));return[l&&`${r("why.quoted",{text:l.surface})}${l.kind?` (${l.kind})`:""} ${c}`.trim(),w,Object.hasOwn(Ne,a)&&r(Ne[a])].filter(Boolean).join("; ")}function _e({image:t,reading:e,verdicts:n}){let[o,s]=v(!1),[a,l]=v(!1),c=un(t,e,n.said),p=c.filter((u,m)=>o||m<cn||u.accepted||n.said.has(u.entity));A(()=>{n.said.forEach((u,m)=>{c.some(w=>w.entity===m&&w.candidate)||gt(m)})},[n.said]);let d=u=>{l(!1),ot([u]),n.give(u,"y",!1)};return i`<section aria-label=${r("labels.title")}><h3>${r("labels.title")}</h3>
    ${n.error&&i`<${U} error=${n.error} />`}
    <ul class="label-list">${p.map(u=>i`<li key=${u.entity} class=${u.accepted||u.probability===null?"":"candidate"}>
      <div class="recognised"><a href=${N(["entity",u.entity])} title=${u.description}>${u.name}</a>
        ${u.probability===null?i`<span class="faint">${u.by?r("labels.saidBy",{name:u.by}):r("labels.saidByPerson")}</span>`:i`<${mt} value=${u.probability} />`}
        <${It} entity=${{id:u.entity,name:u.name}} verdicts=${n} /></div>
      ${u.candidate&&i`<p class="faint">${dn(u.candidate,e)}</p>`}</li>`)}</ul>
    ${!c.length&&i`<p class="faint">${r("labels.none")}</p>`}
    <p class="actions">
      ${c.length>p.length&&i`<button class="link" onClick=${()=>s(!0)}>${r("labels.more",{count:c.length-p.length})}</button>`}
      ${!a&&i`<button class="button small" onClick=${()=>l(!0)}><${D} name="plus" />${r("labels.add")}</button>`}</p>
    ${a&&i`<${Dt} label=${r("labels.also")} placeholder=${r("entityName")} focused onEntity=${d} />`}
  </section>`}function kt({src:t,alt:e,width:n=0,height:o=0,children:s}){let[a,l]=v(o?n/o:0),[c,p]=v(!1);return c?i`<p class="faint">${r("large.gone")}</p>`:i`<div class="large" style=${a?{"--ratio":String(a)}:{}}>
    <img src=${t} alt=${e} draggable=${!1} onError=${()=>p(!0)}
      onLoad=${d=>l(d.currentTarget.naturalWidth/d.currentTarget.naturalHeight)} />
    ${s}
  </div>`}var Kt=.01;function Ht({image:t,upload:e,region:n,verdicts:o}){let[s,a]=v(null),[l,c]=v(null),[p,d]=v(0),[u,m]=v(!1);if(A(()=>{let y=!0;return a(null),c(null),(t===void 0?P.recogniseUpload(e,n):P.recogniseImage(t,n)).then(h=>y&&a(h),h=>y&&c(h)),()=>{y=!1}},[t,e,n?.join(),p]),l)return i`<${U} error=${l} retry=${()=>d(p+1)} />`;if(!s)return i`<${W} what=${r("wait.recognising")} />`;let w=s.entities.filter(({probability:y},h)=>u||!h||(y??1)>=Kt),$=s.entities.length-w.length;return i`<section class="recognition" aria-label=${r("recognition.title")}>
    ${s.note&&i`<p class="note">${s.note}</p>`}
    ${s.uncalibrated&&i`<p class="faint why">${s.uncalibrated}</p>`}
    <ol>${w.map(y=>i`<li key=${y.entity.id}>
      <div class="recognised">
        <a href=${N(["entity",y.entity.id])}>${y.entity.name}</a>
        <${mt} value=${y.probability} />
        ${o&&i`<${It} entity=${y.entity} verdicts=${o} />`}
      </div>
      ${y.entity.description&&i`<p class="faint">${y.entity.description}</p>`}
      ${y.evidence.length>0&&i`<div class="evidence" role="group" aria-label=${r("recognition.near",{name:y.entity.name})}>
        ${y.evidence.map(([h])=>i`<span key=${h.id} class="small-image">
          <${tt} image=${h} /></span>`)}</div>`}
      ${y.siblings.length>0&&i`<p class="faint">${r("recognition.or",{names:y.siblings.map((h,f)=>i`${f?", ":""}
        <a href=${N(["entity",h.id])} title=${h.description}>${h.name}</a>`)})}</p>`}
    </li>`)}</ol>
    ${$>0&&i`<p><button class="link" onClick=${()=>m(!0)}>${r("recognition.fewer",{count:$,share:q(Kt)})}</button></p>`}
    ${s.unnamed!==null&&i`<div class="recognised none">
      <span>${r("recognition.none")}</span>
      <${mt} value=${s.unnamed} />
    </div>`}
  </section>`}var Gt=.02,qt=.04,it=(t,e,n)=>Math.min(n,Math.max(e,t)),De=t=>it(Number(t.toFixed(4)),0,1),Ie=([t,e,n,o])=>r("region.where",{left:q(t),right:q(n),top:q(e),bottom:q(o)});function Vt({region:t,onRegion:e,onDone:n}){let o=B(null),s=B(null),[a,l,c,p]=t??[.25,.25,.75,.75],d=$=>{let y=o.current.getBoundingClientRect();return[it(($.clientX-y.left)/y.width,0,1),it(($.clientY-y.top)/y.height,0,1)]},u=$=>{if(!s.current)return;let[y,h]=d($),[f,b]=s.current,k=[Math.min(y,f),Math.min(h,b),Math.max(y,f),Math.max(h,b)];k[2]-k[0]>=qt&&k[3]-k[1]>=qt&&e(k.map(De))},m=$=>{let[y,h]={ArrowLeft:[-Gt,0],ArrowRight:[Gt,0],ArrowUp:[0,-Gt],ArrowDown:[0,Gt]}[$.key]??[];if($.key==="Enter"&&($.preventDefault(),n([a,l,c,p])),y===void 0)return;$.preventDefault();let f=$.shiftKey?[a,l,it(c+y,a+qt,1),it(p+h,l+qt,1)]:[a+it(y,-a,1-c),l+it(h,-l,1-p),c+it(y,-a,1-c),p+it(h,-l,1-p)];e(f.map(De)),G(Ie(f))},w=()=>{s.current=null};return i`<div class="region-frame" ref=${o}
      onPointerDown=${$=>{$.preventDefault(),$.currentTarget.setPointerCapture($.pointerId),s.current=d($)}}
      onPointerMove=${u} onPointerUp=${w} onPointerCancel=${w}>
    <div class="region" role="application" tabindex="0" aria-roledescription=${r("region.role")}
      aria-label=${r("region.name",{where:Ie([a,l,c,p])})}
      onKeyDown=${m}
      style=${{left:`${a*100}%`,top:`${l*100}%`,width:`${(c-a)*100}%`,height:`${(p-l)*100}%`}} />
  </div>`}var zt=t=>t?.image??t;function pn(t,e){for(let n=0;n<t.total;n+=1)if(zt(t.at(n))?.id===e)return n;return-1}function mn(t,e){let n=ce.value?.list,o=B({id:0,place:-1}),[s,a]=v(-1);n&&(o.current.id!==t||o.current.place<0)&&(o.current={id:t,place:pn(n,t)});let{place:l}=o.current,c=n&&l>=0?[l-1,l+1].filter(m=>m>=0&&m<n.total):[],p=c.map(m=>zt(n.at(m))?.id).join();A(()=>{c.some(m=>!n.at(m))&&n.look(Math.max(0,l-1),l+2);for(let m of c)n.at(m)&&(new Image().src=et(zt(n.at(m)).id))},[l,p]);let d=s>=0&&zt(n?.at(s));return A(()=>{d&&(o.current={id:d.id,place:s},a(-1),e(d))},[d]),{step:m=>{c.includes(l+m)&&a(l+m)},place:l,total:n?.total??0,can:m=>c.includes(l+m)}}function Et({id:t,known:e,onClose:n,onSearch:o,onStep:s}){let[a,l]=v({id:0}),[c,p]=v(!1),{step:d,place:u,total:m,can:w}=mn(t,s),$=B(u),y=B(-1),h=e??(a.id===t?a.image:null),f=a.id===t?a.error:null;A(()=>{e||P.image(t).then(g=>l({id:t,image:g}),g=>l({id:t,error:g}))},[t]),pt(g=>{if(document.querySelector(".pswp"))return!1;if(g.key==="?")p(!c);else if(g.key==="ArrowLeft"||g.key==="ArrowRight")d(g.key==="ArrowLeft"?-1:1);else return!1;return!0},{inDialog:!0});let b=()=>{y.current=u>=0&&u!==$.current?u:-1,n()};A(()=>()=>{y.current>=0&&setTimeout(()=>ce.value?.move(y.current))},[]);let k=(g,O,_)=>i`<button class="round" aria-label=${O} title=${O} disabled=${!w(g)}
    onClick=${()=>d(g)}><${D} name=${_} /></button>`,M=i`<div class="steps">
    ${u>=0&&i`${k(-1,r("detail.previous"),"left")}
      <span class="figure" role="status">${r("detail.place",{place:u+1,total:m})}</span>${k(1,r("detail.next"),"right")}`}
    <button class="round wide-only" aria-label=${r("detail.keys")} title=${r("detail.keys")} aria-expanded=${c} onClick=${()=>p(!c)}><${D} name="keys" /></button></div>`;return i`<${Rt} title=${h?rt(h):r("detail.image")} kind="wide" tools=${M} onClose=${b}>
    ${c&&i`<p class="keys">${r("detail.keysHelp",{left:i`<kbd>←</kbd>`,right:i`<kbd>→</kbd>`,tab:i`<kbd>Tab</kbd>`,help:i`<kbd>?</kbd>`,escape:i`<kbd>Esc</kbd>`})}</p>`}
    ${f?i`<${U} error=${f} />`:h?i`<${$n} key=${t} image=${h} onSearch=${o} />`:i`<${W} />`}
  <//>`}function $n({image:t,onSearch:e}){let{id:n}=t,[o,s]=v(!1),[a,l]=v(null),[c,p]=v(!1),[d,u]=v(null),m=Ce(t);A(()=>{let y=!0;return P.reading(n).then(h=>y&&u(h),()=>{}),()=>{y=!1}},[]);let w=o?a??[.25,.25,.75,.75]:null,$=()=>e({image:n,weight:1,region:w});return i`<div class="detail">
    <div class="stage">
      <${kt} src=${et(n)} alt=${rt(t)} width=${t.width} height=${t.height}>
        ${o&&i`<${Vt} region=${a} onRegion=${l} onDone=${$} />`}<//>
    </div>
    <div class="about">
      <div class="actions">
        <button class="button main" onClick=${$}><${D} name="search" />
          ${o?r("region.search"):r("detail.like")}</button>
        <button class="button" onClick=${()=>s(!o)}>
          <${D} name="crop" />${o?r("region.whole"):r("region.select")}</button>
        <button class="button" onClick=${()=>Wt(t)}><${D} name="closer" />${r("detail.closely")}</button>
        <button class="button" aria-pressed=${c} onClick=${()=>p(!c)}>
          <${D} name="tag" />${r("detail.recognise")}</button>
        <a class="button" href=${et(n)} download><${D} name="download" />${r("detail.download")}</a>
      </div>
      ${o&&i`<p class="faint">${r("region.help")}</p>`}
      ${c&&i`<${Ht} image=${n} region=${w} verdicts=${m} />`}
      <${_e} image=${t} reading=${d} verdicts=${m} />
      ${t.text.trim()&&i`<${fn} image=${t} reading=${d} />`}
      <${hn} image=${t} />
    </div>
  </div>`}function fn({image:t,reading:e}){let n=new Set(e?.candidates.filter(({accepted:c})=>c).map(({mention:c})=>c)),o=e?.text===t.text?e.mentions:[],s=o.length?Nt(t.text,o.map(({start:c,end:p},d)=>({start:c,end:p,kind:String(d)}))):Pt(t.text,t.labels.filter(({accepted:c})=>c).map(({name:c})=>c)),a=({text:c,mark:p})=>{let{kind:d="",detector:u="",reason:m=""}=o[p]??{};return p?i`<mark class=${!o.length||n.has(Number(p))?"meant":"other"}
      title=${[d,u,m].filter(Boolean).join(" · ")}>${c}</mark>`:c},l=[...new Set(o.map(({kind:c})=>c).filter(Boolean))];return i`<section aria-label=${r("detail.text")}><h3>${r("detail.text")}</h3>
    <blockquote class="caption" tabindex="0">${s.map(a)}</blockquote>
    ${l.length>0&&i`<p class="faint named-in">${r("detail.namesIn",{kinds:l.join(", ")})}</p>`}</section>`}function hn({image:t}){let e=Object.entries(t.columns).filter(([,n])=>n!==null&&n!=="");return i`<dl class="facts">
    ${t.width>0&&i`<dt>${r("detail.size")}</dt><dd>${t.width} × ${t.height}</dd>`}
    <dt>${r("detail.file")}</dt><dd>${t.path||`${t.shard} · ${t.key}`}</dd>
    ${/^https?:\/\//.test(t.url)&&i`<dt>${r("detail.from")}</dt><dd><a href=${t.url} rel="noreferrer noopener" target="_blank">${t.url}</a></dd>`}
    ${e.map(([n,o])=>i`<dt>${n}</dt><dd>${String(o)}</dd>`)}
  </dl>`}function yn({example:t,src:e,name:n,onClose:o,onRegion:s}){let[a,l]=v(t.region),[c,p]=v(!1),d=t.upload?e:et(t.image);return i`<${Rt} title=${r("example.part",{name:n})} kind="wide" onClose=${o}>
    <div class="detail">
      <div class="stage">${d?i`<${kt} src=${d} alt=${n}>
          <${Vt} region=${a} onRegion=${l} onDone=${s} /><//>`:i`<p class="faint">${r("example.lost")}</p>`}</div>
      <div class="about">
        <p class="faint">${r("region.help")}</p>
        <div class="actions">
          <button class="button main" disabled=${!a} onClick=${()=>s(a)}>
            <${D} name="crop" />${r("region.search")}</button>
          <button class="button" disabled=${!t.region} onClick=${()=>s(null)}>${r("region.whole")}</button>
          <button class="button" aria-pressed=${c} onClick=${()=>p(!c)}>
            <${D} name="tag" />${r("detail.recognise")}</button>
        </div>
        ${c&&i`<${Ht} image=${t.image} upload=${t.upload} region=${a} />`}
      </div>
    </div>
  <//>`}var gn=6,bn=new Set(["date","licence","license"]),wn={month:"long",year:"numeric",timeZone:"UTC"},kn={type:({value:t,name:e})=>e===t?dt(t):e,verdict:({value:t})=>J(t),folder:({value:t})=>t.split("/").pop(),date:({value:t})=>t.length>4?yt(new Date(`${t}-01`),wn):t};function vn(t){let[e,n]=t.split("-").map(Number);return[new Date(Date.UTC(e,n?n-1:0)),new Date(Date.UTC(e,n||12,0))].map(o=>o.toISOString().slice(0,10))}function xn({query:t,columns:e,onFilters:n}){let[o,s]=v(null),[a,l]=v(null),{filters:c}=t,p={...Bt(t),order:""};A(()=>{let f=new AbortController;return l(null),P.facets(p,f.signal).then(b=>{ot((b.values.entity??[]).map(({value:k,name:M})=>({id:k,name:M}))),s(b)},b=>{b.name!=="AbortError"&&l(b)}),()=>f.abort()},[JSON.stringify(p),bt.value]);let d=f=>n({...c,...f}),u=(f,b,k={})=>i`<label class="field"><span>${b}</span>
    <${Ae} value=${c[f]??""} ...${k} onValue=${M=>d({[f]:M})} /></label>`,m=f=>(o?.values[f]??[]).map(b=>({...b,name:(kn[f]??(()=>b.name))(b)})).filter(b=>b.name),w=(f,b=k=>({[f]:k}))=>i`<ul class="facet-values">
    ${m(f).map(({value:k,name:M,images:g})=>i`<li key=${k}>
      <button type="button" class="facet-value" title=${k} onClick=${()=>d(b(k))}><span>${M}</span>
        <span class="figure">${ct(g)}<span class="unseen"> ${r("rail.images",{count:g})}</span></span></button></li>`)}</ul>`,$=(f,b,k)=>(c[f]||m(f).length>0)&&i`<section><h2>${b}</h2>
    ${c[f]?i`<button type="button" class="facet-value" aria-pressed="true" onClick=${()=>d({[f]:""})}>
        <span>${k}</span><${D} name="close" /></button>`:w(f)}</section>`,y=Number(c.min_probability??0),h=new Map(m("min_probability").map(({value:f,images:b})=>[Number(f),b]));return i`<div id="filters" class="rail" role="group" aria-label=${r("filters")}>
    ${a&&i`<${U} error=${a} />`}
    ${o?i`<p class="faint">${r(o.ranked?"rail.best":"rail.all",{count:o.images})}</p>`:!a&&i`<${W} what=${r("wait.counting")} />`}
    ${$("type",r("type"),dt(c.type??"")||c.type)}
    ${$("entity",r("view.entity"),ut.value[c.entity]??c.entity)}
    <section><label class="field"><span>${r("rail.least")}</span>
      <select value=${String(y)} onChange=${f=>d({min_probability:f.currentTarget.value})}>
        ${[0,.5,.8,.9,.95].map(f=>i`<option value=${String(f)} selected=${f===y}>
          ${f?`${Math.round(f*100)} %`:r("rail.any")}${h.has(f)?` · ${ct(h.get(f))}`:""}</option>`)}
      </select></label></section>
    ${$("verdict",r("rail.verdict"),J(c.verdict))}
    <section>${u("folder",r("rail.folder"),{placeholder:"/photos/2024"})}${w("folder")}</section>
    ${e.includes("date")&&i`<section>${u("since",r("rail.since"),{type:"date"})}${u("until",r("rail.until"),{type:"date"})}
      ${w("date",f=>{let[b,k]=vn(f);return{since:b,until:k}})}</section>`}
    ${e.some(f=>f==="licence"||f==="license")&&i`<section>
      ${u("licence",r("rail.licence"),{placeholder:"cc-by*"})}${w("licence")}</section>`}
    ${e.filter(f=>!bn.has(f)).slice(0,gn).map(f=>i`<section key=${f}>
      ${u(`column.${f}`,f)}${w(`column.${f}`)}</section>`)}
  </div>`}function ue({ids:t,picked:e=!1,onOpen:n}){let o=Ut(async(s,a,l)=>{let c=t.slice(s,s+a),p=new Map(c.length?(await P.images(c,l)).map(d=>[d.id,d]):[]);return{items:c.map(d=>p.get(d)??{id:d,key:r("chosen.gone"),text:"",labels:[]}),total:t.length}},"");return o.error?i`<${U} error=${o.error} retry=${()=>o.retry()} />`:o.total===null?i`<${W} />`:i`<${Ft} label=${r("chosen.title")} list=${o} picked=${e?t:[]}
    tile=${(s,a,l)=>i`<${jt} image=${s} active=${l} onOpen=${()=>n(s)}>
      <p class="tile-label faint">${s.labels.find(c=>c.accepted)?.name}</p><//>`} />`}function de(t){let[e,n]=v(null),{params:o}=Q.value,s=Number(o.get("show"))||0,a=p=>{let d=new URLSearchParams(Q.value.params);return p?d.set("show",String(p)):d.delete("show"),N(t,d)},l=(p,d=null,u=!1)=>{n(d),nt(a(p),u)},c=s>0&&i`<${Et} id=${s} known=${e?.id===s?e:null}
    onClose=${()=>Tt(a(0))} onStep=${p=>l(p.id,p,!0)}
    onSearch=${p=>nt(N(["search"],$t({...xt,examples:[p]})))} />`;return{open:l,detail:c}}function En(){let t=Q.value.params.get("ids")??"",e=[...new Set(t.split(",").map(Number).filter(s=>Number.isInteger(s)&&s>0))],{open:n,detail:o}=de(["images"]);return i`<h1>${r("images",{count:e.length})}</h1>
    ${e.length?i`<${ue} key=${t} ids=${e} onOpen=${s=>n(s.id,s)} />`:i`<${K} title=${r("chosen.none")}><p><a href="#/search">${r("app.toSearch")}</a></p><//>`}
    ${o}`}var St=60,Sn=150;function pe({path:t,target:e,tail:n}){let{params:o}=Q.value,s=o.get("prefix")??"",a=o.get("type")??"",[l,c]=v(null),[p,d]=v(!1),[u,m]=v(null),[w,$]=v(0),y=f=>{let b=Object.fromEntries(Object.entries({prefix:s,type:a,...f}).filter(([,k])=>k));nt(N(t,b),!0)};A(()=>{let f=new AbortController,b=setTimeout(async()=>{try{let k=await P.entities({prefix:s,type:a,limit:St},f.signal);ot(k),c(k),d(k.length===St),m(null),(s||a)&&G(r(k.length===St?"entities.least":"entities",{count:k.length}))}catch(k){k.name!=="AbortError"&&m(k)}},l?Sn:0);return()=>{clearTimeout(b),f.abort()}},[s,a,w]);let h=async()=>{try{let f=await P.entities({prefix:s,type:a,limit:St,offset:l.length});ot(f),c([...l,...f]),d(f.length===St)}catch(f){m(f)}};return i`
    <form class="entity-filters" role="search" onSubmit=${f=>f.preventDefault()}>
      <label class="field"><span>${r("entities.prefix")}</span><input type="text" value=${s} autocomplete="off"
        onInput=${f=>y({prefix:f.currentTarget.value})} /></label>
      <label class="field"><span>${r("type")}</span><input type="text" value=${a} autocomplete="off"
        onInput=${f=>y({type:f.currentTarget.value})} /></label>
    </form>
    ${u&&i`<${U} error=${u} retry=${()=>$(w+1)} />`}
    ${!l&&!u&&i`<${W} />`}
    ${l?.length===0&&(s||a?i`<${K} title=${r("entities.unknown")}>
        <p>${r("entities.unknownHint")}</p><//>`:i`<${K} title=${r("entities.none")}>
        <p>${r("entities.noneHint")}</p><//>`)}
    <ul class="entity-list">${l?.map(f=>i`<li key=${f.id}>
      <a class="entity-card" href=${e(f)}>
        <strong>${f.name}</strong>
        <span class="faint">${Lt(f)}</span>
        <span class="figure">${n?n(f):r("images",{count:f.images})}</span>
      </a></li>`)}</ul>
    ${p&&i`<p class="center"><button class="button" onClick=${h}>${r("more")}</button></p>`}`}function Mn(){return i`<h1>${r("view.entities")}</h1>
    <${pe} path=${["entities"]} target=${t=>N(["entity",t.id])} />`}var An=12,On=[["labels","entity.kindLabels"],["candidates","entity.kindBelow"],["all","entity.kindAll"]],Cn=[["sure","entity.sure"],["doubt","entity.doubt"]];function Tn(){let{rest:[t=""],params:e}=Q.value,[n,o]=v(null),[s,a]=v(null),[l,c]=v(null),[p,d]=v(0);return A(()=>{let u=!0;return P.entity(t).then(m=>{u&&(ot([m]),o(m))},m=>u&&c(m)),P.similar(t).then(m=>u&&a(m),()=>{}),()=>{u=!1}},[t,p]),l?i`<h1 class="unseen">${r("view.entity")}</h1><${U} error=${l} retry=${()=>{c(null),d(p+1)}} />
    <p class="center"><a href="#/entities">${r("entity.all")}</a></p>`:n?i`
    <article class="entity">
      <header class="entity-head">
        <div>
          <h1>${n.name}</h1>
          ${n.description&&i`<p class="lead">${n.description}</p>`}
          <ul class="chips" aria-label=${r("types")}>
            ${n.types.filter(dt).map(u=>i`<li key=${u}><${Le} href=${N(["entities"],{type:u})}>${dt(u)}<//></li>`)}
            <li><span class="faint">${n.id}</span></li>
          </ul>
          <${Rn} aliases=${n.aliases.filter(u=>u.toLowerCase()!==n.name.toLowerCase())} />
        </div>
        <div class="entity-side">
          <dl class="counts">
            <div><dt>${r("entity.named")}</dt><dd>${ct(n.named)} <span>${r("entity.texts",{count:n.named})}</span></dd></div>
            <div><dt>${r("entity.shown")}</dt><dd>${ct(n.images)} <span>${r("entity.images",{count:n.images})}</span></dd></div>
          </dl>
          <div class="actions">
            <a class="button main" href=${N(["search"],$t({...xt,entity:t}))}><${D} name="search" />${r("entity.search")}</a>
            <a class="button" href=${N(["review","grid",t])}><${D} name="check" />${r("entity.review")}</a>
          </div>
        </div>
      </header>
      <${Ln} entity=${n} params=${e} />
      ${s?.length>0&&i`<section aria-labelledby="look-alikes"><h2 id="look-alikes">${r("entity.alike")}</h2>
        <ul class="entity-list">${s.map(u=>i`<li key=${u.id}>
          <a class="entity-card" href=${N(["entity",u.id])}><strong>${u.name}</strong>
            <span class="faint">${Lt(u)}</span>
            <span class="figure">${r("images",{count:u.images})}</span></a></li>`)}</ul></section>`}
    </article>`:i`<${W} />`}function Rn({aliases:t}){let[e,n]=v(!1);if(!t.length)return null;let o=e?t:t.slice(0,An);return i`<p class="aliases"><span class="faint">${r("entity.also")}</span> ${o.join(" · ")}
    ${t.length>o.length&&i` <button class="link" onClick=${()=>n(!0)}>${r("entity.more",{count:t.length-o.length})}</button>`}</p>`}function Ln({entity:t,params:e}){let n=e.get("show")??"labels",o=e.get("order")==="doubt"?"doubt":"sure",s=Number(e.get("image"))||0,[a,l]=v(null),c={labels:!0,candidates:!1}[n],p={labels:t.images,candidates:t.named-t.images}[n]??t.named,d=Ut(async($,y,h)=>({items:await P.entityImages(t.id,{order:o,accepted:c,limit:y,offset:$},h),total:p}),`${t.id} ${n} ${o} ${p} ${bt.value}`),u=($,y=!0)=>{let h=new URLSearchParams(e);Object.entries($).forEach(([f,b])=>b?h.set(f,b):h.delete(f)),nt(N(["entity",t.id],h),y)},m=()=>{let $=new URLSearchParams(e);$.delete("image"),Tt(N(["entity",t.id],$))},w=($,y,h,f,b)=>i`<${Pe} legend=${$} name=${y} value=${f}
    options=${h.map(([k,M])=>[k,r(M)])} onChange=${k=>u({[y]:k===b?"":k})} />`;return i`<section aria-labelledby="images">
    <div class="results-head"><h2 id="images">${r("view.images")}</h2>
      ${w(r("entity.which"),"show",On,n,"labels")}${w(r("order"),"order",Cn,o,"sure")}</div>
    ${d.error?i`<${U} error=${d.error} retry=${()=>d.retry()} />`:d.total===null?i`<${W} />`:d.total?i`<${Ft} label=${r("entity.imagesOf",{name:t.name})} list=${d} entity=${t.id}
            tile=${($,y,h)=>i`<${jt} image=${$.image} active=${h} kind=${$.accepted?"":"beyond"}
              about=${[r("tile.probability",{share:q($.probability)}),$.verdict&&r("tile.judged",{said:J($.verdict)})].filter(Boolean).join(", ")}
              onOpen=${()=>{l($.image),u({image:String($.image.id)},!1)}}>
              <div class="tile-row"><${mt} value=${$.probability} />
                ${$.verdict&&i`<span class=${`said ${$.verdict}`}>${J($.verdict)}</span>`}</div><//>`} />`:i`<${K} title=${r("entity.noImage")}>
          <p>${r(n==="labels"?"entity.unlabelled":"entity.noneOfKind")}</p><//>`}
    ${s>0&&i`<${Et} id=${s} known=${a?.id===s?a:null}
      onClose=${m} onStep=${$=>{l($),u({image:String($.id)})}}
      onSearch=${$=>nt(N(["search"],$t({...xt,examples:[$]})))} />`}
  </section>`}var Mt=([t,e,n,o])=>({x:(t+n)/2,y:(e+o)/2,zoom:1});function $e({deepest:t},[e,n,o]){let s=65536/2**Math.min(e,t);return{left:n*s,top:o*s,side:s}}function Fe(t,e){let n=Math.floor(t.byteLength/17),o=0,s=a=>{let l=new a(t,o,n);return o+=l.byteLength,l};return{...e,images:s(Float64Array),x:s(Uint16Array),y:s(Uint16Array),area:s(Uint16Array),type:s(Uint8Array),probability:s(Uint8Array),verdict:s(Uint8Array)}}var at=(t,{width:e,height:n,bounds:[o,s,a,l]})=>t.zoom*Math.min(Math.max(1,e-32)/Math.max(1,a-o),Math.max(1,n-32)/Math.max(1,l-s));function ft(t,e,n,o){let s=at(t,e);return[t.x+(n-e.width/2)/s,t.y+(o-e.height/2)/s]}function ht(t,e,n,o){let s=at(t,e);return[(n-t.x)*s+e.width/2,(o-t.y)*s+e.height/2]}var Yt=(t,e,n)=>Math.min(n,Math.max(e,t)),Xt=({x:t,y:e,zoom:n},[o,s,a,l])=>({x:Yt(t,o,a),y:Yt(e,s,l),zoom:Yt(n,1,4e3)});function Qt(t,e,n,[o,s],[a,l]){let[c,p]=ft(t,e,o,s),d=Yt(t.zoom*n,1,4e3),u=at({...t,zoom:d},e);return Xt({x:c-(a-e.width/2)/u,y:p-(l-e.height/2)/u,zoom:d},e.bounds)}var At=(t,e,n,o=e.width/2,s=e.height/2)=>Qt(t,e,n,[o,s],[o,s]);function Zt(t,e){let[n,o]=ft(t,e,0,0),[s,a]=ft(t,e,e.width,e.height);return[[n,o],[s,o],[s,a],[n,a]]}function fe(t,e,n,o){let[[s,a],,[l,c]]=Zt(e,n),p=t.tiles.filter(u=>{let m=$e(t,u);return m.left<=l&&m.top<=c&&m.left+m.side>=s&&m.top+m.side>=a}),d=[];for(let u=0,m=0;u<p.length&&m<o;){let w=u,$=0;for(;w<p.length&&p[w][0]===p[u][0];)$+=p[w++][3];let y=Math.min(1,(o-m)/$);for(;u<w;)d.push([p[u],Math.floor(p[u++][3]*y)]);m+=$}return d}function je(t,e,n,o){let s=null,a=o*o;for(let[l,c]of t){if(e+o<l.left||n+o<l.top||e-o>l.left+l.side||n-o>l.top+l.side)continue;let p=l.side/65536;for(let d=0;d<c;d+=1){let u=(l.left+l.x[d]*p-e)**2+(l.top+l.y[d]*p-n)**2;u<=a&&([s,a]=[{tile:l,row:d},u])}}return s}var Jt=(t,e)=>[t.left+t.x[e]*t.side/65536,t.top+t.y[e]*t.side/65536];function Be(t,e,n){let o=!1;for(let s=0,a=t.length-1;s<t.length;a=s,s+=1){let[[l,c],[p,d]]=[t[s],t[a]];c>n!=d>n&&e<(p-l)*(n-c)/(d-c)+l&&(o=!o)}return o}var Ue=t=>t.split(",").map(Number),me=t=>Number(t.toFixed(2));function We(t){let e=Math.max(1,Math.ceil(t.length/60));return t.filter((n,o)=>o%e===0).map(n=>n.map(me).join(",")).join(";")}function te(t){let e=t.split(";").map(Ue),n=o=>o.length===2&&o.every(s=>Math.abs(s)<=1e6);return e.length>=3&&e.length<=500&&e.every(n)?e:null}function Ke(t,e){let n=[t.x,t.y,t.zoom].map(me).join();return n===Object.values(Mt(e)).map(me).join()?"":n}function he(t,e){let[n,o,s,...a]=Ue(t);return t&&!a.length&&[n,o,s].every(Number.isFinite)?Xt({x:n,y:o,zoom:s},e):Mt(e)}var ee=8,Pn=`#version 300 es
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
void main() { painted = vec4(colour, 1.0); }`,_n=/swiftshader|llvmpipe|softpipe|software|basic render/i,He=null;function Dn(){let t=document.createElement("canvas").getContext("webgl2",{failIfMajorPerformanceCaveat:!0});if(!t)return!1;let e=t.getExtension("WEBGL_debug_renderer_info"),n=t.getParameter(e?e.UNMASKED_RENDERER_WEBGL:t.RENDERER);return t.getExtension("WEBGL_lose_context")?.loseContext(),!_n.test(n)}function ye(t){He??=Dn();let e=He&&t.getContext("webgl2",{antialias:!1,preserveDrawingBuffer:!0});return e?In(t,e):Fn(t)}function Ge(t,{width:e,height:n}){let o=devicePixelRatio||1,[s,a]=[Math.round(e*o),Math.round(n*o)];return(t.width!==s||t.height!==a)&&([t.width,t.height]=[s,a]),o}function qe(t,e){return Uint8Array.from(t.x,(n,o)=>e.shade(t,o))}function In(t,e){let n=e.createProgram();for(let[$,y]of[[e.VERTEX_SHADER,Pn],[e.FRAGMENT_SHADER,Nn]]){let h=e.createShader($);e.shaderSource(h,y),e.compileShader(h),e.attachShader(n,h)}e.linkProgram(n),e.useProgram(n),e.enable(e.DEPTH_TEST),e.depthFunc(e.LEQUAL);let[o,s,a]=["box","colours","size"].map($=>e.getUniformLocation(n,$)),l=new Map,c=new Set,p=null,d=1,u=($,y,h,f)=>{let b=e.createBuffer(),k=e.getAttribLocation(n,$);return e.bindBuffer(e.ARRAY_BUFFER,b),e.bufferData(e.ARRAY_BUFFER,y,e.STATIC_DRAW),e.enableVertexAttribArray(k),e.vertexAttribPointer(k,1,h,f,0,0),b},m=({array:$,buffers:y})=>{e.deleteVertexArray($),y.forEach(h=>e.deleteBuffer(h))},w=$=>{c.add($);let y=l.get($);if(y?.key!==p.key){y&&m(y);let h=e.createVertexArray();e.bindVertexArray(h),y={array:h,key:p.key,buffers:[u("x",$.x,e.UNSIGNED_SHORT,!0),u("y",$.y,e.UNSIGNED_SHORT,!0),u("shade",qe($,p),e.UNSIGNED_BYTE,!1)]},l.set($,y)}e.bindVertexArray(y.array)};return{clear($,y){for(let[h,f]of l)c.has(h)||(m(f),l.delete(h));c=new Set,p=y,d=Ge(t,$),e.viewport(0,0,t.width,t.height),e.uniform4fv(s,p.colours.flat()),e.clear(e.COLOR_BUFFER_BIT|e.DEPTH_BUFFER_BIT)},draw($,y,h,f,b,k){w($);let[M,g]=ht(f,b,$.left,$.top),O=$.side*at(f,b);e.uniform4f(o,2*O/b.width,-2*O/b.height,2*M/b.width-1,1-2*g/b.height),e.uniform1f(a,k*d),e.drawArrays(e.POINTS,y,h-y)},show(){}}}function Fn(t){let e=t.getContext("2d",{willReadFrequently:!0}),n=new WeakMap,o=null,s=1,a=null,l=null,c=null,p=null;return{clear(d,u){o=u,s=Ge(t,d),(a?.width!==t.width||a.height!==t.height)&&(a=e.createImageData(t.width,t.height),l=new Uint32Array(a.data.buffer),c=new Uint8Array(l.length)),l.fill(0),c.fill(o.colours.length),p=o.colours.map(m=>new Uint32Array(Uint8Array.from([...m.slice(0,3).map(w=>Math.round(w*255)),255]).buffer)[0])},draw(d,u,m,w,$,y){n.get(d)?.key!==o.key&&n.set(d,{key:o.key,shades:qe(d,o)});let{shades:h}=n.get(d),[f,b]=ht(w,$,d.left,d.top).map(_=>_*s),k=d.side*at(w,$)*s/65536,M=o.colours.map(([,,,_])=>Math.max(1,Math.round(y*s*_))),{width:g,height:O}=a;for(let _=u;_<m;_+=1){let V=h[_],j=M[V],H=Math.round(f+d.x[_]*k-j/2),T=Math.round(b+d.y[_]*k-j/2);if(H+j<=0||T+j<=0||H>=g||T>=O)continue;let lt=Math.min(g,H+j);for(let Z=Math.max(0,T);Z<Math.min(O,T+j);Z+=1)for(let z=Z*g+Math.max(0,H),x=Z*g+lt;z<x;z+=1)V>c[z]||(c[z]=V,l[z]=p[V])}},show(){e.putImageData(a,0,0)}}}var jn=4,Bn=6e5;function Ve(t,e,n){let o=new Map,s=new Set,a=new AbortController,l=[],c=0,p=()=>{for(;s.size<jn&&l.length;){let d=l.shift(),u=d.slice(0,3).join("/");s.has(u)||o.has(u)||(s.add(u),P.mapTile(u,t.state,a.signal).then(m=>{o.set(u,Fe(m,$e(t,d))),c+=d[3],e()}).catch(m=>{a.signal.aborted||n(m)}).finally(()=>{s.delete(u),p()}))}};return{take(d){let u=[],m=[];for(let[w,$]of d){let y=w.slice(0,3).join("/"),h=o.get(y);if(!h){m.push(w);continue}o.delete(y),o.set(y,h),u.push([h,Math.min($,h.x.length)])}for(let[w,$]of o){if(c<=Bn||o.size<=u.length)break;o.delete(w),c-=$.x.length}return l=m,p(),u},close:()=>a.abort()}}var Un=.15,ne=1.4,Wn=9,Kn=4,Hn=250,Gn=15e4,[qn,Vn]=[8e3,6e4],zn=20,Yn=300,Xn=64,oe=3e4;function Qn(t){oe=t>zn?Math.max(qn,oe*.75):Math.min(Vn,oe*1.03)}function Zn({painter:t,tiles:e,plane:n,frame:o,size:s,style:a,radius:l},c,p){let d=new Map,u=!0,m=0,w=$=>{requestAnimationFrame(k=>Qn(k-$));let y=Math.floor(oe),h=y,f=(k,M)=>{let g=d.get(k)??0,O=Math.min(M,g+h);O<=g||(t.draw(k,g,O,o,s,l),d.set(k,O),h-=O-g)};if(u){t.clear(s,a);for(let[k,M]of e.take(fe(n,o,s,y)))f(k,M);u=!1}let b=e.take(fe(n,o,s,Gn));for(let[k,M]of b)h&&f(k,M);t.show(),c(y-h),m=0,b.some(([k,M])=>(d.get(k)??0)<M)?m=requestAnimationFrame(w):p(b)};return m=requestAnimationFrame(w),{stop:()=>cancelAnimationFrame(m),more:()=>{m||=requestAnimationFrame(w)}}}function Jn(t,e,n){let o=[],[[s,a],,[l,c]]=Zt(e,n);for(let[d,u]of t){let[m,w,$,y]=[s-d.left,l-d.left,a-d.top,c-d.top].map(h=>h*65536/d.side);for(let h=0;h<u;h+=1){if(d.x[h]<m||d.x[h]>w||d.y[h]<$||d.y[h]>y)continue;let f=Jt(d,h),[b,k]=ht(e,n,...f);if(o.push({id:d.images[h],at:f,x:b,y:k,tile:d,row:h})>Yn)return[]}}let p=[];for(let d of o)p.every(({x:u,y:m})=>Math.max(Math.abs(u-d.x),Math.abs(m-d.y))>Xn)&&p.push(d);return p}function to(t,e,n){let o=[];return t.areas.forEach(({entities:s,type:a,x:l,y:c},p)=>{let d=s[0]||a,[u,m]=ht(e,n,l,c),w=Math.min(90,10+4*d.length);!d||u<w||m<56||u>n.width-w||m>n.height-14||o.every($=>Math.abs($.top-m)>24||Math.abs($.left-u)>$.half+w)&&o.push({place:p,name:d,left:u,top:m,half:w})}),o}function ze({plane:t,tiles:e,turn:n,style:o,frame:s,onFrame:a,lasso:l,marked:c,onLasso:p,onOpen:d}){let u=B(null),m=B(null),w=B([]),$=B(null),[y,h]=v(!1),[f,b]=v(null),[k,M]=v(null),[g,O]=v([]),[_,V]=v(null),j=B(null),H=B(new Map),T=()=>({width:u.current.clientWidth,height:u.current.clientHeight,bounds:t.bounds}),lt=Math.min(7,(t.images>2e4?2:t.images>2e3?3.6:6.4)*Math.sqrt(s.zoom));Me.value;let Z=u.current&&o(u.current);ve(()=>{if(!_)return;m.current??=ye(u.current);let E=0,S=u.current;return $.current=Zn({painter:m.current,tiles:e,plane:t,frame:s,size:_,style:Z,radius:lt},L=>{S.dataset.marks=String(L)},L=>{w.current=L,S.dataset.drawn=String(L.reduce((C,[,Y])=>C+Y,0)),clearTimeout(E),E=setTimeout(()=>O(Jn(L,s,_)),Hn)}),()=>{$.current.stop(),clearTimeout(E)}},[t,e,s,Z?.key,_]),A(()=>$.current?.more(),[n]),A(()=>{let E=u.current,S=()=>V(T());S();let L=new ResizeObserver(S);L.observe(E);let C=vt=>{vt.preventDefault();let[sn,an]=z(vt);a(ln=>At(ln,T(),Math.exp(-vt.deltaY/400),sn,an))},Y=vt=>vt.preventDefault(),ke=()=>{m.current=ye(E),S()};return E.addEventListener("wheel",C,{passive:!1}),E.addEventListener("webglcontextlost",Y),E.addEventListener("webglcontextrestored",ke),()=>{L.disconnect(),E.removeEventListener("wheel",C),E.removeEventListener("webglcontextlost",Y),E.removeEventListener("webglcontextrestored",ke)}},[t]);let z=E=>{let S=u.current.getBoundingClientRect();return[E.clientX-S.left,E.clientY-S.top]},x=(E,S)=>je(w.current,...ft(s,T(),E,S),Wn/at(s,T())),R=()=>{let[[E,S],[L,C]]=H.current.values();return{apart:Math.max(1,Math.hypot(E-L,S-C)),middle:[(E+L)/2,(S+C)/2]}},I=E=>{if(E.button)return;E.currentTarget.setPointerCapture(E.pointerId);let[S,L]=z(E);H.current.set(E.pointerId,[S,L]),M(null),b(null),H.current.size===2?j.current={frame:s,pinch:R()}:H.current.size===1?j.current={x:S,y:L,frame:s,path:y||E.shiftKey?[ft(s,T(),S,L)]:null}:j.current=null},F=E=>{let[S,L]=z(E),C=j.current;if(H.current.has(E.pointerId)&&H.current.set(E.pointerId,[S,L]),C?.pinch){let Y=R();a(()=>Qt(C.frame,T(),Y.apart/C.pinch.apart,C.pinch.middle,Y.middle))}else if(C?.path)C.path.push(ft(s,T(),S,L)),b([...C.path]);else if(C)a(()=>Qt(C.frame,T(),1,[C.x,C.y],[S,L]));else{let Y=E.pointerType==="mouse"?x(S,L):null;M(Y&&{id:Y.tile.images[Y.row],x:S,y:L})}},X=()=>{H.current.clear(),j.current=null,b(null)},Ct=E=>{let S=j.current;if(X(),!S||S.pinch)return;let[L,C]=z(E),Y=!S.path&&Math.hypot(L-S.x,C-S.y)<Kn&&x(L,C);S.path?.length>2?p(S.path):Y&&d(Y.tile.images[Y.row])},rn=E=>{let S={ArrowLeft:[-1,0],ArrowRight:[1,0],ArrowUp:[0,-1],ArrowDown:[0,1]}[E.key],L=Un*Math.min(T().width,T().height)/at(s,T());if(!(E.altKey||E.ctrlKey||E.metaKey)){if(S)a(C=>Xt({...C,x:C.x+S[0]*L,y:C.y+S[1]*L},t.bounds));else if(E.key==="+"||E.key==="=")a(C=>At(C,T(),ne));else if(E.key==="-")a(C=>At(C,T(),1/ne));else if(E.key==="0"||E.key==="Home")a(()=>Mt(t.bounds));else if(E.key==="Enter")p(Zt(s,T()));else if(E.key==="Escape"&&j.current)X();else return;E.preventDefault()}},re=(E,S,L)=>i`<button class="button" aria-label=${S} title=${S}
    onClick=${()=>{a(C=>E?At(C,T(),E):Mt(t.bounds)),G(S)}}>${L}</button>`,se=E=>_&&ht(s,_,...E),we=([E,S])=>({transform:`translate(${E}px, ${S}px)`}),ie=_&&(f??l)?.map(E=>se(E).map(S=>S.toFixed(1)).join()).join(" ");return i`<div class="map-frame">
    <div class="map-tools" role="group" aria-label=${r("view.map")}>
      <button class="button" aria-pressed=${y} onClick=${()=>h(!y)}><${D} name="lasso" />${r("map.lasso")}</button>
      ${re(ne,r("map.zoomIn"),"+")}${re(1/ne,r("map.zoomOut"),"−")}${re(0,r("map.showAll"),r("map.all"))}
    </div>
    <canvas ref=${u} class=${y?"drawing":""} tabindex="0" role="application" aria-roledescription=${r("map.role")}
      data-zoom=${s.zoom.toFixed(2)} data-centre=${`${Math.round(s.x)},${Math.round(s.y)}`}
      aria-label=${r("map.help")}
      onPointerDown=${I} onPointerMove=${F} onPointerUp=${Ct} onPointerCancel=${X}
      onPointerLeave=${()=>M(null)} onKeyDown=${rn} />
    ${_&&i`<div class="map-over" aria-hidden="true">
      ${g.map(({id:E,at:S,tile:L,row:C})=>i`<div key=${E} class="map-image" style=${{...we(se(S)),borderColor:eo(Z,L,C)}}>
        <${tt} image=${{id:E}} /></div>`)}
      <svg>${ie&&i`<polygon class="lasso-edge" points=${ie} /><polygon points=${ie} />`}
        ${c.map(E=>{let[S,L]=se(E);return i`<circle key=${E.join()} cx=${S} cy=${L} r="6" />`})}</svg>
      ${to(t,s,_).map(({place:E,name:S,left:L,top:C})=>i`<span key=${E} class="map-name"
        style=${we([L,C])}><span>${S}</span></span>`)}
    </div>`}
    ${k&&i`<div class="map-near" style=${{left:`${k.x}px`,top:`${k.y}px`}}>
      <${tt} key=${k.id} image=${{id:k.id}} /></div>`}
  </div>`}function eo({colours:t,shade:e},n,o){return`rgb(${t[e(n,o)].slice(0,3).map(s=>s*255).join(" ")})`}var no=300,[oo,ro]=[500,100],Ye=[],so=.86;function io(){let[t,e]=v(null),[n,o]=v(null),[s,a]=v(0);A(()=>{let p=!0;return P.map().then(d=>p&&e(d),d=>p&&o(d)),()=>{p=!1}},[s]);let l=()=>{o(null),a(s+1)},c=p=>p instanceof xe&&p.status===409?a(s+1):o(p);return i`<h1>${r("view.map")}</h1>${n?i`<${U} error=${n} retry=${l} />`:t?t.images?i`<${mo} plane=${t} onError=${c} />`:i`<${K} title=${r("map.none")}><p>${t.note}</p><//>`:i`<${W} />`}`}function ao(t){let{types:e}=t;return{"":{title:r("types"),of:(n,o)=>n.type[o],names:[...e.map(({type:n,images:o},s)=>[dt(n)||n,s+1,o]),[r("map.otherTypes"),0,t.other],[r("map.noLabel"),0,t.unlabelled]]},probability:{title:r("map.byProbability"),of:(n,o)=>{let s=(n.probability[o]-1)/254;return s<0?4:s>=.95?0:s>=.8?1:s>=.5?2:3},names:[[r("map.from95"),4],[r("map.from80"),2],[r("map.from50"),1],[r("map.below50"),6],[r("map.noLabel"),0]]},verdict:{title:r("map.byVerdict"),of:(n,o)=>(n.verdict[o]+3)%4,names:[[r("said.right"),4],[r("said.wrong"),6],[r("said.unsure"),3],[r("map.unjudged"),0]]}}}function lo(t,{names:e}){let n=getComputedStyle(t),o=l=>{let c=n.getPropertyValue(l).trim().slice(1).replace(/^(.)(.)(.)$/,"$1$1$2$2$3$3");return[0,2,4].map(p=>Number.parseInt(c.slice(p,p+2),16)/255)},s=o("--surface"),a=Array.from({length:ee},(l,c)=>[...o(e[c]?.[1]?`--map-${e[c][1]}`:"--map-rest"),c===e.length-1?.6:1]);return[...a,...a.map(([l,c,p,d])=>[...[l,c,p].map((u,m)=>u+(s[m]-u)*so),d])]}function co(t){let{params:e}=Q.value,n=e.get("at")??"",[o,s]=v(()=>he(n,t.bounds)),a=B(n);A(()=>{n!==a.current&&(a.current=n,s(he(n,t.bounds)))},[n]);let l=(c,p=!1)=>{let d=new URLSearchParams(Q.value.params);Object.entries(c).forEach(([u,m])=>m?d.set(u,m):d.delete(u)),nt(N(["map"],d),p)};return A(()=>{let c=setTimeout(()=>{let p=Ke(o,t.bounds);p===a.current||Q.value.view!=="map"||(a.current=p,l({at:p},!0))},no);return()=>clearTimeout(c)},[o]),{params:e,frame:o,setFrame:s,set:l}}function uo(t,e,n,o){let[s,a]=v(null);return A(()=>{if(a(null),!e&&n===null)return;let l=new AbortController;return P.mapChosen(e?{lasso:te(e)}:{area:n},l.signal).then(c=>{a(c),G(`${r("map.chosen",{count:c.total})}.`)},c=>{l.signal.aborted||o(c)}),()=>l.abort()},[t,e,n]),s}function po(t,e){let n=Re(t)?JSON.stringify(Bt(t)):"",[o,s]=v(Ye);return A(()=>{if(s(Ye),!n)return;let a=new AbortController;return(async()=>{let{hits:l,end:c}=await P.search({...JSON.parse(n),limit:oo},a.signal),p=l.slice(0,c||ro).map(({image:m})=>m.id),{x:d,y:u}=p.length?await P.mapPlaces(p,a.signal):{x:[],y:[]};s(d.map((m,w)=>[m,u[w]])),G(r("map.marked",{count:d.length}))})().catch(l=>{a.signal.aborted||e(l)}),()=>a.abort()},[n]),{asked:n,marked:o}}function mo({plane:t,onError:e}){let{params:n,frame:o,setFrame:s,set:a}=co(t),[l,c]=v(null),[p,d]=v(0),{open:u,detail:m}=de(["map"]),w=te(n.get("lasso")??"")?n.get("lasso"):"",$=ae(()=>w?te(w):null,[w]),y=n.has("area")?Number(n.get("area")):null,h=!w&&t.areas[y]?y:null,f=uo(t,w,h,e),b=Te(n),{asked:k,marked:M}=po(b,e);A(()=>{gt(b.entity)},[b.entity]);let g=b.text||ut.value[b.entity]||b.entity,O=ae(()=>Ve(t,()=>d(T=>T+1),e),[t]);A(()=>O.close,[O]);let _=ao(t),V=n.get("colour")??"",j=Object.hasOwn(_,V)?V:"",H=T=>{let lt=lo(T,_[j]),{of:Z}=_[j],z=(x,R,I)=>(l===null||l===I)&&(h===null||x.area[R]===h)&&(!$||Be($,...Jt(x,R)));return{key:[lt,j,l,h,w].join("|"),colours:lt,shade:(x,R)=>{let I=Math.min(ee-1,Z(x,R));return z(x,R,I)?I:I+ee}}};return i`
    <p class="lead">${r("map.lead",{count:t.images})}${t.missing>0&&` ${r("map.missing",{count:t.missing})}`}</p>
    ${k&&i`<div class="results-head"><p>${r(g?"map.markedFor":"map.markedSearch",{what:g,images:i`<strong>${r("images",{count:M.length})}</strong>`})}</p>
      <button class="button" onClick=${()=>a(Object.fromEntries([...$t(b).keys()].map(T=>[T,""])))}>${r("map.markNone")}</button></div>`}
    <div class="map">
      <${ze} plane=${t} tiles=${O} turn=${p} style=${H} frame=${o} onFrame=${s} lasso=${$} marked=${M}
        onLasso=${T=>a({lasso:We(T),area:""})} onOpen=${u} />
      <div class="map-side">
        <${$o} ways=${_} way=${j} bright=${l} onBright=${c}
          onWay=${T=>{c(null),a({colour:T},!0)}} />
        <${fo} plane=${t} area=${h} params=${n} />
      </div>
    </div>
    ${f&&i`<${ho} key=${`${w} ${h}`} chosen=${f}
      onOpen=${T=>u(T.id,T)} onNone=${()=>a({lasso:"",area:""})} />`}
    ${m}`}function $o({ways:t,way:e,bright:n,onBright:o,onWay:s}){let{names:a}=t[e];return i`<section aria-labelledby="legend"><h2 id="legend">${t[e].title}</h2>
    <label class="field inline"><span>${r("map.colours")}</span> <select value=${e} onChange=${l=>s(l.currentTarget.value)}>
      ${Object.entries(t).map(([l,{title:c}])=>i`<option key=${l} value=${l} selected=${l===e}>${c}</option>`)}</select></label>
    <ul class="legend">${a.map(([l,c,p],d)=>p!==0&&i`<li key=${l}>
      <button type="button" aria-pressed=${n===d} title=${r("map.standOut",{name:l})}
        onClick=${()=>o(n===d?null:d)}>
        <span class=${`swatch ${c?`of-${c}`:d===a.length-1?"small":""}`} />
        <span>${l}</span>${p!==void 0&&i` <span class="figure">${ct(p)}</span>`}</button></li>`)}</ul></section>`}function fo({plane:t,area:e,params:n}){let o=s=>{let a=new URLSearchParams(n);return a.delete("lasso"),s===e?a.delete("area"):a.set("area",String(s)),N(["map"],a)};return i`<section aria-labelledby="areas"><h2 id="areas">${r("map.areas")}</h2>
    <ol class="areas">${t.areas.map(({images:s,entities:a,type:l},c)=>i`<li key=${c}>
      <a href=${o(c)} aria-current=${c===e?"true":void 0}>
        <span>${a.join(", ")||l||r("map.area",{place:c+1})}</span> <span class="figure">${r("images",{count:s})}</span></a></li>`)}</ol>
  </section>`}function ho({chosen:{total:t,images:e},onOpen:n,onNone:o}){let s=B(null);return A(()=>{s.current.getBoundingClientRect().top>innerHeight-60&&s.current.scrollIntoView({block:"center"})},[]),i`<section aria-labelledby="chosen">
    <div class="results-head"><h2 id="chosen" ref=${s}>${r("map.chosen",{count:t})}</h2>
      <button class="button" onClick=${o}>${r("map.chooseNone")}</button></div>
    ${t>e.length&&i`<p class="note" role="note">${r("map.first",{count:e.length})}</p>`}
    ${t?i`<${ue} ids=${e} picked onOpen=${n} />`:i`<${K} title=${r("map.empty")}><p>${r("map.emptyHint")}</p><//>`}
  </section>`}var Xe=50,yo={dateStyle:"medium",timeStyle:"short"};function Qe(){let t=st.value,[e,n]=v(null),[o,s]=v(!1),[a,l]=v(null),c=async m=>{l(null);try{await m()}catch(w){l(w)}},p=m=>c(async()=>{let w=await P.history({who:t,limit:Xe,offset:m.length});st.value===t&&(n([...m,...w]),s(w.length===Xe))});A(()=>{n(null),p([])},[t]);let d=m=>c(async()=>{await wt([m.verdict.id]),n(w=>w.filter($=>$!==m)),G(r("verdict.undone",{name:m.entity.name}))}),u=a&&i`<${U} error=${a} retry=${()=>p(e??[])} />`;return e?i`${u}
    ${e.length===0&&i`<${K} title=${r("history.none")}><p>${t?r("history.noneBy",{who:t}):r("history.noneUnnamed")}</p><//>`}
    <ol class="history" aria-label=${r("history.title")}>${e.map(m=>i`<${go} key=${m.verdict.id} row=${m} onUndo=${()=>d(m)} />`)}</ol>
    ${o&&i`<p class="center"><button class="button" onClick=${()=>p(e)}>${r("more")}</button></p>`}`:u||i`<${W} />`}function go({row:t,onUndo:e}){let{verdict:n,image:o,entity:s,instead:a}=t;return i`<li>
    <span class="small-image">${o&&i`<${tt} image=${o} />`}</span>
    <div><p><span class=${`said ${n.verdict}`}>${J(n.verdict)}</span> <a href=${N(["entity",s.id])}>${s.name}</a>${a&&r("history.instead",{name:i`<a href=${N(["entity",a.id])}>${a.name}</a>`})}</p>
      <p class="faint">${o?i`<a href=${N(["images"],{ids:o.id,show:o.id})}>${rt(o)}</a>`:r("history.gone",{place:`${n.shard} · ${n.key}`})}
        ${" · "}<time datetime=${n.when}>${yt(new Date(n.when),yo)}</time></p></div>
    <button class="button small" aria-label=${r("history.undo",{name:s.name,said:J(n.verdict)})} onClick=${e}><${D} name="undo" />${r("undo")}</button></li>`}var Je=150,ge=8,bo=300;function wo(){let t=(document.querySelector("main")?.clientWidth??innerWidth)-(innerWidth>760?48:32),e=Math.max(2,Math.floor((t+ge)/(le(Je)+ge)));return Math.min(60,e*Math.max(3,Math.floor((innerHeight-bo)/(t/e))))}var ko="agent:",Ot=null;async function vo(t,e,n,o){let s=new Map(e.map(({image:c})=>[`${c.shard} ${c.key}`,n[c.id]])),a=(await P.verdicts({entity:t})).filter(({id:c,who:p,shard:d,key:u})=>!o.includes(c)&&!p.startsWith(ko)&&s.has(`${d} ${u}`)),l=new Map(a.reverse().map(({shard:c,key:p,verdict:d})=>[`${c} ${p}`,d]));return l.size?{names:[...new Set(a.map(({who:c})=>c||r("reviewer.nameless")))].join(", "),count:l.size,otherwise:[...l].filter(([c,p])=>p!==s.get(c)).length}:null}var Ze=({names:t,count:e,otherwise:n})=>r("pager.faster",{names:t,count:e,otherwise:n});function tn({entity:t,name:e}){let[n,o]=v(null),[s,a]=v({}),[l,c]=v(null),[p,d]=v(new Set),[u,m]=v([]),[w,$]=v(null),[y,h]=v(!1),[f,b]=v(0),k=B(null),M=B(null),g=async()=>{$(null);try{o(await P.review({entity:t,order:"doubt",accepted:!0,who:st.value,limit:wo()})),a({}),b(0)}catch(x){$(x)}};A(()=>{let x=Ot?.entity===t&&Ot.who===st.value?Ot:null;Ot=null,x?(o(x.page),a(x.values)):g()},[]);let O=async()=>{if(!(y||!n?.length)){if([...k.current.querySelectorAll("img")].some(x=>!x.complete)){G(r("pager.early"));return}h(!0),$(null);try{let x=Object.fromEntries(n.map(({image:X})=>[X.id,V(X)])),R=await _t(n.map(({image:X})=>({image:X,entity:t,value:x[X.id]}))),I=n.filter(({image:X})=>s[X.id]==="n").length;m([...u,{ids:R,page:n,values:s}]);let F=await vo(t,n,x,R).catch(()=>null);c(F),G(`${r("pager.taken",{count:n.length,wrong:I})}${F?` ${Ze(F)}`:""}`),await g(),k.current?.querySelector("button")?.focus()}catch(x){x.status===401&&(Ot={entity:t,page:n,values:s,who:st.value}),$(x)}finally{h(!1)}}},_=async()=>{let x=u.at(-1);if(!(y||!x)){h(!0);try{await wt(x.ids),m(u.slice(0,-1)),c(null),o(x.page),a(x.values),G(r("pager.undone"))}catch(R){$(R)}finally{h(!1)}}},V=x=>s[x.id]??(p.has(x.id)?"u":"y"),j=(x,R)=>{let I=n[x]?.image.id;I!==void 0&&a(F=>({...F,[I]:R}))},H=(x,R)=>{let{id:I}=n[x].image;a(F=>({...F,[I]:V({id:I})===R?"y":R}))};pt(x=>{if(x.key==="z")return _(),!0;if(!n?.length)return!1;let R=Math.max(1,Math.round(k.current.clientWidth/(k.current.firstElementChild.offsetWidth+ge))),I={ArrowLeft:-1,ArrowRight:1,ArrowUp:-R,ArrowDown:R}[x.key],F=k.current.contains(document.activeElement),X=F||document.activeElement===document.body||document.activeElement?.id==="main";if(x.key==="Enter"&&X)!x.repeat&&O();else if(x.key==="n"||x.key==="x"||x.key===" "&&F)H(f,"n");else if(x.key==="u")H(f,"u");else if(x.key==="y")j(f,"y");else if(I&&X){let Ct=Math.max(0,Math.min(n.length-1,f+I));b(Ct),k.current.querySelectorAll("button")[Ct].focus()}else return!1;return!0});let T=(x,R)=>{if(x.pointerType==="touch"||x.button)return;let I=V(n[R].image)==="n"?"y":"n";M.current=I,j(R,I);let F=()=>{setTimeout(()=>{M.current=null}),removeEventListener("pointerup",F)};addEventListener("pointerup",F)},lt=x=>{if(!M.current||!x.buttons)return;let R=document.elementFromPoint(x.clientX,x.clientY)?.closest("[data-place]")?.dataset.place;R!==void 0&&j(Number(R),M.current)},Z=n?.filter(({image:x})=>V(x)!=="y").length??0,z=w&&i`<${U} error=${w} retry=${n?void 0:g} />`;return n?i`
    ${z}
    ${l&&i`<p class="note" role="note">${Ze(l)}</p>`}
    ${n.length===0?i`<${K} title=${r("pager.done")}>
        <p>${r("pager.next",{entity:i`<a href=${N(["entity",t])}>${r("pager.entity")}</a>`,other:i`<a href="#/review">${r("pager.other")}</a>`})}</p><//>`:i`<p class="keys">${r("pager.keys",{arrows:i`<kbd>←</kbd><kbd>→</kbd><kbd>↑</kbd><kbd>↓</kbd>`,wrong:i`<kbd>n</kbd>`,space:i`<kbd>${r("key.space")}</kbd>`,unsure:i`<kbd>u</kbd>`,enter:i`<kbd>${r("key.enter")}</kbd>`,undo:i`<kbd>z</kbd>`})}</p>
        <div class="judge-grid" ref=${k} role="group" aria-label=${r("pager.grid",{name:e})}
          style=${{"--least":`${le(Je)}px`}} onPointerMove=${lt}>
          ${n.map(({image:x},R)=>{let I=V(x);return i`<button key=${x.id} type="button" class=${`judge ${I}`} data-place=${R}
                tabindex=${R===f?0:-1} aria-label=${`${rt(x)}: ${J(I)}`}
                onFocus=${()=>b(R)} onPointerDown=${F=>T(F,R)}
                onKeyDown=${F=>{F.key==="Enter"&&F.preventDefault()}}
                onClick=${F=>{F.detail&&!M.current&&H(R,"n")}}>
              <${tt} key=${x.id} image=${x} onGone=${()=>d(F=>new Set(F).add(x.id))} />
              <span class="mark"><${D} name=${{y:"check",n:"close",u:"question"}[I]} /></span>
            </button>`})}
        </div>`}
    <div class="judge-bar">
      <button class="button main" disabled=${y||!n.length} onClick=${O}>
        <${D} name="check" />${r("pager.take",{right:n.length-Z,wrong:Z})}</button>
      <button class="button" disabled=${y||!u.length} onClick=${_}><${D} name="undo" /><span class="undo">${r("undo")}</span></button>
      <p class="faint">${u.length>0&&r("pager.judged",{count:u.reduce((x,R)=>x+R.page.length,0)})}</p>
    </div>`:z||i`<${W} />`}function en({entity:t}){let[e,n]=v(null);if(A(()=>{let u=!0;return P.precision(t).then(m=>u&&n(m),()=>{}),()=>{u=!1}},[bt.value,t]),!e?.judged&&!e?.agents)return null;let{precision:o,lower:s,upper:a,judged:l,labels:c,agents:p}=e,d=p>0&&i` <span class="faint">${r("precision.agents",{count:p})}</span>`;return l?i`<p class="precision" role="note">
    <span class="interval" aria-hidden="true"><span class="range" style=${{left:`${s*100}%`,width:`${(a-s)*100}%`}} />
      <span class="point" style=${{left:`${o*100}%`}} /></span>
    <span>${r("precision.sentence",{precision:i`<strong>${q(o)}</strong>`,lower:q(s),upper:q(a),verdicts:r("precision.verdicts",{count:l}),labels:r("labels",{count:c})})}${d}</span></p>`:i`<p class="precision" role="note">${d}</p>`}var xo=20,Eo=9,nn={y:"single.saidYes",n:"single.saidNo",u:"said.unsure"},So={minimumFractionDigits:2,maximumFractionDigits:2},be=({image:t,entity:e})=>`${t.id} ${e.id}`;function on({entity:t}){let[e,n]=v(null),[o,s]=v([]),[a,l]=v(null),{current:c}=B(new Set),p=B(!1),d=async()=>{l(null);try{let b=await P.review({entity:t,order:"active",accepted:!0,who:st.value,limit:xo+c.size});n(b.filter(k=>!c.has(be(k))))}catch(b){l(b)}};A(()=>{d()},[]);let u=e?.[0],m=()=>(c.add(be(u)),w()),w=async()=>e.length>1?n(e.slice(1)):d(),$=async(b,k="",M="")=>{if(!(p.current||!u)){p.current=!0,l(null);try{let g=await _t([{image:u.image,entity:u.entity.id,value:b,instead:k}]);s([...o,{ids:g,item:u,value:b,name:M}]),G(M?r("single.is",{name:M}):r("single.given",{said:r(nn[b])})),await w()}catch(g){l(g)}finally{p.current=!1}}},y=async()=>{let b=o.at(-1);if(!(p.current||!b)){p.current=!0;try{await wt(b.ids),s(o.slice(0,-1)),n([b.item,...e??[]]),G(r("single.undone"))}catch(k){l(k)}finally{p.current=!1}}};pt(b=>b.key!=="z"||b.repeat?!1:(y(),!0));let h=o.at(-1),f=a&&i`<${U} error=${a} retry=${e?void 0:d} />`;return i`${f}
    ${!e&&!a&&i`<${W} />`}
    ${e&&(u?i`<${Mo} key=${be(u)} item=${u} onDecide=${$} onSkip=${m} />`:i`<${K} title=${r("single.done")}><p>${r(t?"single.noneLeft":"single.noLabelLeft")}
          ${" "}<a href="#/review">${r("single.choose")}</a></p><//>`)}
    <div class="judge-bar">
      <button class="button" disabled=${!h} onClick=${y}><${D} name="undo" /><span class="undo">${r("undo")}</span></button>
      <p class="faint" data-last>${h&&r(h.name?"single.lastInstead":"single.last",{name:h.item.entity.name,said:r(nn[h.value]),instead:h.name,share:q(h.item.probability),count:o.length})}</p>
    </div>`}function Mo({item:t,onDecide:e,onSkip:n}){let{image:o,entity:s}=t,[a,l]=v(null),[c,p]=v(null),[d,u]=v(!1);A(()=>{let g=!0;return P.reading(o.id).then(O=>g&&p(O),()=>{}),P.recogniseImage(o.id).then(O=>g&&l(O.entities),()=>g&&l([])),()=>{g=!1}},[]);let m=a?.find(g=>g.entity.id===s.id)?.evidence??[],w=c?.candidates??[],$=new Set(w.filter(g=>g.entity===s.id).map(g=>g.mention)),y=[...new Set([...$].map(g=>c.mentions[g]?.kind).filter(Boolean))],h=new Map(w.map(g=>[g.entity,g.description])),f=new Map(w.filter(g=>$.has(g.mention)).map(g=>[g.entity,g.name]));o.labels.forEach(g=>f.set(g.entity,g.name)),a?.filter(g=>(g.probability??1)>=Kt).forEach(g=>{f.set(g.entity.id,g.entity.name),h.set(g.entity.id,g.entity.description)}),f.delete(s.id);let b=[s.name,...f.values()],k=c?.text===o.text&&$.size?Nt(o.text,c.mentions.map(({start:g,end:O},_)=>({start:g,end:O,kind:$.has(_)?"meant":"other"}))):Pt(o.text,[s.name,...s.aliases]),M=[...f].slice(0,Eo);return pt(g=>{if(g.repeat)return!1;let O=M[Number(g.key)-1];if(["y","n","u"].includes(g.key))e(g.key);else if(g.key==="s")n();else if(g.key==="i")u(!0);else if(O)e("n",...O);else return!1;return!0}),i`<div class="single">
    <div class="stage"><button class="plain" aria-label=${r("detail.closely")} onClick=${()=>Wt(o)}>
      <${kt} src=${et(o.id)} alt=${o.text?"":o.key} width=${o.width} height=${o.height} /></button></div>
    <div class="about">
      <h2 class="question">${r("verdict.ask",{name:i`<a href=${N(["entity",s.id])}>${s.name}</a>`})}</h2>
      ${s.description&&i`<p class="lead">${s.description}</p>`}
      ${o.text&&i`<blockquote class="caption">${k.map(g=>g.mark?i`<mark class=${g.mark}>${g.text}</mark>`:g.text)}</blockquote>`}
      ${y.length>0&&i`<p class="faint named-in">${r("single.namedIn",{kinds:y.join(", ")})}</p>`}
      <div class="verdicts" role="group" aria-label=${r("single.verdict")}>
        <button class="button yes" onClick=${()=>e("y")}><${D} name="check" />${r("single.yes")} <kbd>y</kbd></button>
        <button class="button no" onClick=${()=>e("n")}><${D} name="close" />${r("single.no")} <kbd>n</kbd></button>
        <button class="button" onClick=${()=>e("u")}><${D} name="question" />${r("single.unsure")} <kbd>u</kbd></button>
        <button class="button" onClick=${n}>${r("single.skip")} <kbd>s</kbd></button>
      </div>
      <section aria-label=${r("single.thisInstead")}><h3>${r("single.thisInstead")}</h3>
        <ul class="chips">${M.map(([g,O],_)=>i`<li key=${g}><span class="chip">
          <button type="button" class="chip-text" title=${h.get(g)} onClick=${()=>e("n",g,O)}><kbd>${_+1}</kbd> ${O}${b.indexOf(O)!==b.lastIndexOf(O)&&h.get(g)&&i` <span class="homonym">${h.get(g)}</span>`}</button></span></li>`)}
          ${!d&&i`<li key="another"><span class="chip"><button type="button" class="chip-text" onClick=${()=>u(!0)}>
            <kbd>i</kbd> ${r("single.another")}</button></span></li>`}</ul>
        ${d&&i`<div class="instead"><${Dt} label=${r("single.instead")} placeholder=${r("entityName")} focused
          onEntity=${g=>e("n",g.id,g.name)} /></div>`}</section>
      ${m.length>0&&i`<section aria-label=${r("single.evidence")}><h3>${r("single.near",{name:s.name})}</h3>
        <div class="evidence">${m.map(([g,O])=>i`<span key=${g.id} class="small-image" title=${r("single.similarity",{value:yt(O,So)})}>
          <${tt} image=${g} /></span>`)}</div></section>`}
    </div>
  </div>`}function Ao(){let{rest:[t="",e=""]}=Q.value;A(()=>gt(e),[e]);let n=ut.value[e]??e;if(Se.value.has(e))return i`<h1 class="unseen">${r("view.review")}</h1><${K} title=${r("review.unknown",{entity:e})}>
    <p><a href="#/review">${r("review.another")}</a></p><//>`;if(t&&!["grid","single","history"].includes(t))return i`<h1 class="unseen">${r("view.review")}</h1><${K} title=${r("app.noView")}>
    <p><a href="#/review">${r("review.back")}</a></p><//>`;let o=t==="grid"&&e;return i`
    <header class="review-head">
      <div>
        <h1>${o?n:t==="single"?e?n:r("review.single"):r(t==="history"?"review.history":"view.review")}</h1>
        ${t!=="single"&&i`<p class="lead">${r(o?"review.gridLead":t==="history"?"review.historyLead":"review.lead")}</p>`}
      </div>
      <div class="review-tools">
        <${Oe} />
        ${t&&i`<nav aria-label=${r("review.ways")} class="actions">
          ${o?i`<a class="button" href=${N(["review","single",e])}>${r("review.oneByOne")}</a>`:e&&i`<a class="button" href=${N(["review","grid",e])}>${r("review.asGrid")}</a>`}
          <a class="button" href="#/review">${r("review.others")}</a></nav>`}
      </div>
    </header>
    <${en} entity=${e} />
    ${o?i`<${tn} key=${e} entity=${e} name=${n} />`:t==="history"?i`<${Qe} />`:t==="single"?i`<${on} key=${e} entity=${e} />`:i`<p class="actions"><a class="button main" href="#/review/single">${r("review.judge")}</a>
            <a class="button" href="#/review/history">${r("review.history")}</a>
            <a class="button" href="api/verdicts.parquet" download>${r("review.parquet")}</a></p>
          <h2>${r("view.entities")}</h2>
          <${pe} path=${["review"]} target=${s=>N(["review","grid",s.id])}
            tail=${s=>r("labels",{count:s.images})} />`}`}export{Et as Detail,Mn as Entities,Tn as Entity,yn as ExampleDialog,En as Images,io as MapView,xn as Rail,Ao as Review};
