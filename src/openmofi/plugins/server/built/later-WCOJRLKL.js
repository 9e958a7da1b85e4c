import{$ as Dt,A as Mt,B as nt,C as Tt,D as Ct,E as V,G as O,H as tt,I as Rt,J as L,K as G,M as U,N as W,O as B,P as Ot,Q as ct,R as ut,S as xe,T as ht,U as Nt,V as bt,W as It,X as Z,Y as Se,Z as Lt,_ as se,aa as dt,b as k,ba as X,c as A,ca as Pt,d as ye,da as kt,e as j,ea as Ee,f as At,fa as mt,ga as _t,h as s,ha as Ae,i as we,ja as Ft,ka as Me,l as R,m as ke,n as J,q as it,r as ve,u as et,v as $t,w as Y,x as D,y as K,z as at}from"./chunk-O4E73EZ4.js";async function jt(t){let{default:e}=await import("./photoswipe.esm-5BWHUGVW.js"),{width:n,height:o}=t.width?t:{width:1600,height:1200};new e({dataSource:[{src:J(t.id),msrc:ke(t),width:n,height:o,alt:nt(t)}],appendToEl:document.querySelector("dialog[open]")??document.body,showHideAnimationType:"none",bgOpacity:.94,zoom:!0,arrowKeys:!1,maxZoomLevel:8,closeTitle:"Close",zoomTitle:"Zoom",errorMsg:"The image cannot be loaded."}).init()}var tn=3,en={below_threshold:"below the threshold",sibling_preferred:"a similar entity is likelier",beyond_top_k:"other labels of this image are likelier"};function nn(t,e,n){let o=new Map(t.labels.map(i=>[i.entity,{...i,candidate:null}]));for(let i of e?.candidates??[]){let a=o.get(i.entity)??{...i,candidate:null};o.set(i.entity,{...a,candidate:a.candidate??i})}for(let[i,a]of n)o.has(i)||o.set(i,{entity:i,name:it.value[i]??i,probability:null,by:a.who});let r=i=>i.accepted||i.probability===null?1:0;return[...o.values()].sort((i,a)=>r(a)-r(i)||(a.probability??0)-(i.probability??0))}function on(t,e){let{prior:n,link_score:o,image_score:r,reason:i}=t,a=e.mentions[t.mention],c=[n!==null&&`means this in ${K(n)} of its uses`,o!==null&&o>=0&&o<=1&&`${K(o)} with the rest of the text`].filter(Boolean).join(", "),u=e.candidates.filter(p=>p.image_score!==null),d=u.filter(p=>p.mention===t.mention),l=d.length>1?d:u,m=l.reduce((p,$)=>$.image_score>p.image_score?$:p,t),y=r!==null&&l.length>1&&(m.entity===t.entity?`of ${D(l.length,"candidate")} the image is closest to this one`:`the image is closer to ${m.name}`);return[a&&`\u201C${a.surface}\u201D${a.kind?` (${a.kind})`:""} ${c}`.trim(),y,en[i]].filter(Boolean).join("; ")}function Te({image:t,reading:e,verdicts:n}){let[o,r]=k(!1),[i,a]=k(!1),c=nn(t,e,n.said),u=c.filter((l,m)=>o||m<tn||l.accepted||n.said.has(l.entity));A(()=>{n.said.forEach((l,m)=>{c.some(y=>y.entity===m&&y.candidate)||$t(m)})},[n.said]);let d=l=>{a(!1),et([l]),n.give(l,"y",!1)};return s`<section aria-label="Labels"><h3>Labels</h3>
    ${n.error&&s`<${U} error=${n.error} />`}
    <ul class="label-list">${u.map(l=>s`<li key=${l.entity} class=${l.accepted||l.probability===null?"":"candidate"}>
      <div class="recognised"><a href=${O(["entity",l.entity])} title=${l.description}>${l.name}</a>
        ${l.probability===null?s`<span class="faint">${l.by?`said by ${l.by}`:"said by a person"}</span>`:s`<${dt} value=${l.probability} />`}
        <${Lt} entity=${{id:l.entity,name:l.name}} verdicts=${n} /></div>
      ${l.candidate&&s`<p class="faint">${on(l.candidate,e)}</p>`}</li>`)}</ul>
    ${!c.length&&s`<p class="faint">It has none.</p>`}
    <p class="actions">
      ${c.length>u.length&&s`<button class="link" onClick=${()=>r(!0)}>and ${D(c.length-u.length,"candidate")} more</button>`}
      ${!i&&s`<button class="button small" onClick=${()=>a(!0)}><${L} name="plus" />Add a label</button>`}</p>
    ${i&&s`<${It} label="It also shows" placeholder="name of an entity" focused onEntity=${d} />`}
  </section>`}function gt({src:t,alt:e,width:n=0,height:o=0,children:r}){let[i,a]=k(o?n/o:0),[c,u]=k(!1);return c?s`<p class="faint">The image cannot be shown. It may have been moved, or is of a kind that browsers do not show.</p>`:s`<div class="large" style=${i?{"--ratio":String(i)}:{}}>
    <img src=${t} alt=${e} draggable=${!1} onError=${()=>u(!0)}
      onLoad=${d=>a(d.currentTarget.naturalWidth/d.currentTarget.naturalHeight)} />
    ${r}
  </div>`}var Ut=.01;function Bt({image:t,upload:e,region:n,verdicts:o}){let[r,i]=k(null),[a,c]=k(null),[u,d]=k(0),[l,m]=k(!1);if(A(()=>{let $=!0;return i(null),c(null),(t===void 0?R.recogniseUpload(e,n):R.recogniseImage(t,n)).then(h=>$&&i(h),h=>$&&c(h)),()=>{$=!1}},[t,e,n?.join(),u]),a)return s`<${U} error=${a} retry=${()=>d(u+1)} />`;if(!r)return s`<${B} what="Recognising" />`;let y=r.entities.filter(({probability:$},h)=>l||!h||($??1)>=Ut),p=r.entities.length-y.length;return s`<section class="recognition" aria-label="What it may show">
    ${r.note&&s`<p class="note">${r.note}</p>`}
    ${r.uncalibrated&&s`<p class="faint why">${r.uncalibrated}</p>`}
    <ol>${y.map($=>s`<li key=${$.entity.id}>
      <div class="recognised">
        <a href=${O(["entity",$.entity.id])}>${$.entity.name}</a>
        <${dt} value=${$.probability} />
        ${o&&s`<${Lt} entity=${$.entity} verdicts=${o} />`}
      </div>
      ${$.entity.description&&s`<p class="faint">${$.entity.description}</p>`}
      ${$.evidence.length>0&&s`<div class="evidence" role="group" aria-label=${`Labelled ${$.entity.name}, and near`}>
        ${$.evidence.map(([h])=>s`<span key=${h.id} class="small-image">
          <${X} image=${h} /></span>`)}</div>`}
      ${$.siblings.length>0&&s`<p class="faint">or ${$.siblings.map((h,f)=>s`${f?", ":""}
        <a href=${O(["entity",h.id])} title=${h.description}>${h.name}</a>`)}</p>`}
    </li>`)}</ol>
    ${p>0&&s`<p><button class="link" onClick=${()=>m(!0)}>and ${p} below ${K(Ut)}</button></p>`}
    ${r.unnamed!==null&&s`<div class="recognised none">
      <span>none of what the labels name</span>
      <${dt} value=${r.unnamed} />
    </div>`}
  </section>`}var Wt=.02,Kt=.04,ot=(t,e,n)=>Math.min(n,Math.max(e,t)),Ce=t=>ot(Number(t.toFixed(4)),0,1),Re=([t,e,n,o])=>`from ${K(t)} to ${K(n)} across, ${K(e)} to ${K(o)} down`;function Gt({region:t,onRegion:e,onDone:n}){let o=j(null),r=j(null),[i,a,c,u]=t??[.25,.25,.75,.75],d=p=>{let $=o.current.getBoundingClientRect();return[ot((p.clientX-$.left)/$.width,0,1),ot((p.clientY-$.top)/$.height,0,1)]},l=p=>{if(!r.current)return;let[$,h]=d(p),[f,g]=r.current,w=[Math.min($,f),Math.min(h,g),Math.max($,f),Math.max(h,g)];w[2]-w[0]>=Kt&&w[3]-w[1]>=Kt&&e(w.map(Ce))},m=p=>{let[$,h]={ArrowLeft:[-Wt,0],ArrowRight:[Wt,0],ArrowUp:[0,-Wt],ArrowDown:[0,Wt]}[p.key]??[];if(p.key==="Enter"&&(p.preventDefault(),n([i,a,c,u])),$===void 0)return;p.preventDefault();let f=p.shiftKey?[i,a,ot(c+$,i+Kt,1),ot(u+h,a+Kt,1)]:[i+ot($,-i,1-c),a+ot(h,-a,1-u),c+ot($,-i,1-c),u+ot(h,-a,1-u)];e(f.map(Ce)),G(Re(f))},y=()=>{r.current=null};return s`<div class="region-frame" ref=${o}
      onPointerDown=${p=>{p.preventDefault(),p.currentTarget.setPointerCapture(p.pointerId),r.current=d(p)}}
      onPointerMove=${l} onPointerUp=${y} onPointerCancel=${y}>
    <div class="region" role="application" tabindex="0" aria-roledescription="region"
      aria-label=${`Region ${Re([i,a,c,u])}. Arrow keys move it, Shift and arrow keys change its size, Enter searches.`}
      onKeyDown=${m}
      style=${{left:`${i*100}%`,top:`${a*100}%`,width:`${(c-i)*100}%`,height:`${(u-a)*100}%`}} />
  </div>`}var Ht=t=>t?.image??t;function rn(t,e){for(let n=0;n<t.total;n+=1)if(Ht(t.at(n))?.id===e)return n;return-1}function sn(t,e){let n=se.value?.list,o=j({id:0,place:-1}),[r,i]=k(-1);n&&(o.current.id!==t||o.current.place<0)&&(o.current={id:t,place:rn(n,t)});let{place:a}=o.current,c=n&&a>=0?[a-1,a+1].filter(m=>m>=0&&m<n.total):[],u=c.map(m=>Ht(n.at(m))?.id).join();A(()=>{c.some(m=>!n.at(m))&&n.look(Math.max(0,a-1),a+2);for(let m of c)n.at(m)&&(new Image().src=J(Ht(n.at(m)).id))},[a,u]);let d=r>=0&&Ht(n?.at(r));return A(()=>{d&&(o.current={id:d.id,place:r},i(-1),e(d))},[d]),{step:m=>{c.includes(a+m)&&i(a+m)},place:a,total:n?.total??0,can:m=>c.includes(a+m)}}function vt({id:t,known:e,onClose:n,onSearch:o,onStep:r}){let[i,a]=k({id:0}),[c,u]=k(!1),{step:d,place:l,total:m,can:y}=sn(t,r),p=j(l),$=j(-1),h=e??(i.id===t?i.image:null),f=i.id===t?i.error:null;A(()=>{e||R.image(t).then(b=>a({id:t,image:b}),b=>a({id:t,error:b}))},[t]),ct(b=>{if(document.querySelector(".pswp"))return!1;if(b.key==="?")u(!c);else if(b.key==="ArrowLeft"||b.key==="ArrowRight")d(b.key==="ArrowLeft"?-1:1);else return!1;return!0},{inDialog:!0});let g=()=>{$.current=l>=0&&l!==p.current?l:-1,n()};A(()=>()=>{$.current>=0&&setTimeout(()=>se.value?.move($.current))},[]);let w=(b,M,F)=>s`<button class="round" aria-label=${M} title=${M} disabled=${!y(b)}
    onClick=${()=>d(b)}><${L} name=${F} /></button>`,E=s`<div class="steps">
    ${l>=0&&s`${w(-1,"Previous image","left")}
      <span class="figure" role="status">${Y(l+1)} of ${Y(m)}</span>${w(1,"Next image","right")}`}
    <button class="round wide-only" aria-label="Keys" title="Keys" aria-expanded=${c} onClick=${()=>u(!c)}><${L} name="keys" /></button></div>`;return s`<${Ot} title=${h?nt(h):"Image"} kind="wide" tools=${E} onClose=${g}>
    ${c&&s`<p class="keys"><kbd>←</kbd> previous <kbd>→</kbd> next <kbd>Tab</kbd> to labels and buttons
      <kbd>?</kbd> keys <kbd>Esc</kbd> close</p>`}
    ${f?s`<${U} error=${f} />`:h?s`<${an} key=${t} image=${h} onSearch=${o} />`:s`<${B} />`}
  <//>`}function an({image:t,onSearch:e}){let{id:n}=t,[o,r]=k(!1),[i,a]=k(null),[c,u]=k(!1),[d,l]=k(null),m=Se(t);A(()=>{let $=!0;return R.reading(n).then(h=>$&&l(h),()=>{}),()=>{$=!1}},[]);let y=o?i??[.25,.25,.75,.75]:null,p=()=>e({image:n,weight:1,region:y});return s`<div class="detail">
    <div class="stage">
      <${gt} src=${J(n)} alt=${nt(t)} width=${t.width} height=${t.height}>
        ${o&&s`<${Gt} region=${i} onRegion=${a} onDone=${p} />`}<//>
    </div>
    <div class="about">
      <div class="actions">
        <button class="button main" onClick=${p}><${L} name="search" />
          ${o?"Search with the region":"Search like this"}</button>
        <button class="button" onClick=${()=>r(!o)}>
          <${L} name="crop" />${o?"Whole image":"Select a region"}</button>
        <button class="button" onClick=${()=>jt(t)}><${L} name="closer" />Look closely</button>
        <button class="button" aria-pressed=${c} onClick=${()=>u(!c)}>
          <${L} name="tag" />Recognise</button>
        <a class="button" href=${J(n)} download><${L} name="download" />Download</a>
      </div>
      ${o&&s`<p class="faint">Drag over the image, or move the frame with the arrow keys and change its size
        with Shift and the arrow keys.</p>`}
      ${c&&s`<${Bt} image=${n} region=${y} verdicts=${m} />`}
      <${Te} image=${t} reading=${d} verdicts=${m} />
      ${t.text.trim()&&s`<${ln} image=${t} reading=${d} />`}
      <${cn} image=${t} />
    </div>
  </div>`}function ln({image:t,reading:e}){let n=new Set(e?.candidates.filter(({accepted:c})=>c).map(({mention:c})=>c)),o=e?.text===t.text?e.mentions:[],r=o.length?Ct(t.text,o.map(({start:c,end:u},d)=>({start:c,end:u,kind:String(d)}))):Tt(t.text,t.labels.filter(({accepted:c})=>c).map(({name:c})=>c)),i=({text:c,mark:u})=>{let{kind:d="",detector:l="",reason:m=""}=o[u]??{};return u?s`<mark class=${!o.length||n.has(Number(u))?"meant":"other"}
      title=${[d,l,m].filter(Boolean).join(" \xB7 ")}>${c}</mark>`:c},a=[...new Set(o.map(({kind:c})=>c).filter(Boolean))];return s`<section aria-label="Text"><h3>Text</h3>
    <blockquote class="caption" tabindex="0">${r.map(i)}</blockquote>
    ${a.length>0&&s`<p class="faint named-in">Names in ${a.join(", ")}</p>`}</section>`}function cn({image:t}){let e=Object.entries(t.columns).filter(([,n])=>n!==null&&n!=="");return s`<dl class="facts">
    ${t.width>0&&s`<dt>Size</dt><dd>${t.width} × ${t.height}</dd>`}
    <dt>File</dt><dd>${t.path||`${t.shard} \xB7 ${t.key}`}</dd>
    ${/^https?:\/\//.test(t.url)&&s`<dt>From</dt><dd><a href=${t.url} rel="noreferrer noopener" target="_blank">${t.url}</a></dd>`}
    ${e.map(([n,o])=>s`<dt>${n}</dt><dd>${String(o)}</dd>`)}
  </dl>`}function un({example:t,src:e,name:n,onClose:o,onRegion:r}){let[i,a]=k(t.region),[c,u]=k(!1),d=t.upload?e:J(t.image);return s`<${Ot} title=${`Part of ${n}`} kind="wide" onClose=${o}>
    <div class="detail">
      <div class="stage">${d?s`<${gt} src=${d} alt=${n}>
          <${Gt} region=${i} onRegion=${a} onDone=${r} /><//>`:s`<p class="faint">This image was sent before the page was loaded; it is not kept here.</p>`}</div>
      <div class="about">
        <p class="faint">Drag over the image, or move the frame with the arrow keys and change its size with Shift and the
          arrow keys.</p>
        <div class="actions">
          <button class="button main" disabled=${!i} onClick=${()=>r(i)}>
            <${L} name="crop" />Search with the region</button>
          <button class="button" disabled=${!t.region} onClick=${()=>r(null)}>Whole image</button>
          <button class="button" aria-pressed=${c} onClick=${()=>u(!c)}>
            <${L} name="tag" />Recognise</button>
        </div>
        ${c&&s`<${Bt} image=${t.image} upload=${t.upload} region=${i} />`}
      </div>
    </div>
  <//>`}var dn=6,mn=new Set(["date","licence","license"]),pn=new Intl.DateTimeFormat("en",{month:"long",year:"numeric",timeZone:"UTC"}),fn={type:({value:t,name:e})=>e===t?at(t):e,verdict:({value:t})=>Z[t],folder:({value:t})=>t.split("/").pop(),date:({value:t})=>t.length>4?pn.format(new Date(`${t}-01`)):t};function $n(t){let[e,n]=t.split("-").map(Number);return[new Date(Date.UTC(e,n?n-1:0)),new Date(Date.UTC(e,n||12,0))].map(o=>o.toISOString().slice(0,10))}function hn({query:t,columns:e,onFilters:n}){let[o,r]=k(null),[i,a]=k(null),{filters:c}=t,u={..._t(t),order:""};A(()=>{let f=new AbortController;return a(null),R.facets(u,f.signal).then(g=>{et((g.values.entity??[]).map(({value:w,name:E})=>({id:w,name:E}))),r(g)},g=>{g.name!=="AbortError"&&a(g)}),()=>f.abort()},[JSON.stringify(u),ht.value]);let d=f=>n({...c,...f}),l=(f,g,w={})=>s`<label class="field"><span>${g}</span>
    <input type="text" value=${c[f]??""} ...${w}
      onChange=${E=>d({[f]:E.currentTarget.value.trim()})} /></label>`,m=f=>(o?.values[f]??[]).map(g=>({...g,name:(fn[f]??(()=>g.name))(g)})).filter(g=>g.name),y=(f,g=w=>({[f]:w}))=>s`<ul class="facet-values">
    ${m(f).map(({value:w,name:E,images:b})=>s`<li key=${w}>
      <button type="button" class="facet-value" title=${w} onClick=${()=>d(g(w))}><span>${E}</span>
        <span class="figure">${Y(b)}<span class="unseen"> images</span></span></button></li>`)}</ul>`,p=(f,g,w)=>(c[f]||m(f).length>0)&&s`<section><h2>${g}</h2>
    ${c[f]?s`<button type="button" class="facet-value" aria-pressed="true" onClick=${()=>d({[f]:""})}>
        <span>${w}</span><${L} name="close" /></button>`:y(f)}</section>`,$=Number(c.min_probability??0),h=new Map(m("min_probability").map(({value:f,images:g})=>[Number(f),g]));return s`<div id="filters" class="rail" role="group" aria-label="Filters">
    ${i&&s`<${U} error=${i} />`}
    ${o?s`<p class="faint">${o.ranked?"The best ":""}${D(o.images,"image")}, near-duplicates counted too</p>`:!i&&s`<${B} what="Counting" />`}
    ${p("type","Type",at(c.type??"")||c.type)}
    ${p("entity","Entity",it.value[c.entity]??c.entity)}
    <section><label class="field"><span>Label probability at least</span>
      <select value=${String($)} onChange=${f=>d({min_probability:f.currentTarget.value})}>
        ${[0,.5,.8,.9,.95].map(f=>s`<option value=${String(f)} selected=${f===$}>
          ${f?`${Math.round(f*100)} %`:"any"}${h.has(f)?` \xB7 ${Y(h.get(f))}`:""}</option>`)}
      </select></label></section>
    ${p("verdict","People said of a label",Z[c.verdict])}
    <section>${l("folder","Folder",{placeholder:"/photos/2024"})}${y("folder")}</section>
    ${e.includes("date")&&s`<section>${l("since","From day",{type:"date"})}${l("until","To day",{type:"date"})}
      ${y("date",f=>{let[g,w]=$n(f);return{since:g,until:w}})}</section>`}
    ${e.some(f=>f==="licence"||f==="license")&&s`<section>
      ${l("licence","Licence",{placeholder:"cc-by*"})}${y("licence")}</section>`}
    ${e.filter(f=>!mn.has(f)).slice(0,dn).map(f=>s`<section key=${f}>
      ${l(`column.${f}`,f)}${y(`column.${f}`)}</section>`)}
  </div>`}function ie({ids:t,picked:e=!1,onOpen:n}){let o=Ft(async(r,i,a)=>{let c=t.slice(r,r+i),u=new Map(c.length?(await R.images(c,a)).map(d=>[d.id,d]):[]);return{items:c.map(d=>u.get(d)??{id:d,key:"no longer in the index",text:"",labels:[]}),total:t.length}},"");return o.error?s`<${U} error=${o.error} retry=${()=>o.retry()} />`:o.total===null?s`<${B} />`:s`<${Dt} label="Chosen images" list=${o} picked=${e?t:[]}
    tile=${(r,i,a)=>s`<${Pt} image=${r} active=${a} onOpen=${()=>n(r)}>
      <p class="tile-label faint">${r.labels.find(c=>c.accepted)?.name}</p><//>`} />`}function ae(t){let[e,n]=k(null),{params:o}=V.value,r=Number(o.get("show"))||0,i=u=>{let d=new URLSearchParams(V.value.params);return u?d.set("show",String(u)):d.delete("show"),O(t,d)},a=(u,d=null,l=!1)=>{n(d),tt(i(u),l)},c=r>0&&s`<${vt} id=${r} known=${e?.id===r?e:null}
    onClose=${()=>Rt(i(0))} onStep=${u=>a(u.id,u,!0)}
    onSearch=${u=>tt(O(["search"],mt({...kt,examples:[u]})))} />`;return{open:a,detail:c}}function bn(){let t=V.value.params.get("ids")??"",e=[...new Set(t.split(",").map(Number).filter(r=>Number.isInteger(r)&&r>0))],{open:n,detail:o}=ae(["images"]);return s`<h1>${D(e.length,"image")}</h1>
    ${e.length?s`<${ie} key=${t} ids=${e} onOpen=${r=>n(r.id,r)} />`:s`<${W} title="The address names no image"><p><a href="#/search">Go to the search</a></p><//>`}
    ${o}`}var yt=60,gn=150;function le({path:t,target:e,tail:n}){let{params:o}=V.value,r=o.get("prefix")??"",i=o.get("type")??"",[a,c]=k(null),[u,d]=k(!1),[l,m]=k(null),[y,p]=k(0),$=f=>{let g=Object.fromEntries(Object.entries({prefix:r,type:i,...f}).filter(([,w])=>w));tt(O(t,g),!0)};A(()=>{let f=new AbortController,g=setTimeout(async()=>{try{let w=await R.entities({prefix:r,type:i,limit:yt},f.signal);et(w),c(w),d(w.length===yt),m(null),(r||i)&&G(w.length===yt?`${yt} or more entities.`:D(w.length,"entity","entities"))}catch(w){w.name!=="AbortError"&&m(w)}},a?gn:0);return()=>{clearTimeout(g),f.abort()}},[r,i,y]);let h=async()=>{try{let f=await R.entities({prefix:r,type:i,limit:yt,offset:a.length});et(f),c([...a,...f]),d(f.length===yt)}catch(f){m(f)}};return s`
    <form class="entity-filters" role="search" onSubmit=${f=>f.preventDefault()}>
      <label class="field"><span>Name begins with</span><input type="text" value=${r} autocomplete="off"
        onInput=${f=>$({prefix:f.currentTarget.value})} /></label>
      <label class="field"><span>Type</span><input type="text" value=${i} autocomplete="off"
        onInput=${f=>$({type:f.currentTarget.value})} /></label>
    </form>
    ${l&&s`<${U} error=${l} retry=${()=>p(y+1)} />`}
    ${!a&&!l&&s`<${B} />`}
    ${a?.length===0&&(r||i?s`<${W} title="No entity is called so">
        <p>Write the beginning of its name, or leave the type open.</p><//>`:s`<${W} title="The index knows no entities">
        <p>Build it of labels, or with a knowledge base: openmofi index build IMAGES --kb KB --entities all.</p><//>`)}
    <ul class="entity-list">${a?.map(f=>s`<li key=${f.id}>
      <a class="entity-card" href=${e(f)}>
        <strong>${f.name}</strong>
        <span class="faint">${Mt(f)}</span>
        <span class="figure">${n?n(f):D(f.images,"image")}</span>
      </a></li>`)}</ul>
    ${u&&s`<p class="center"><button class="button" onClick=${h}>Show more</button></p>`}`}function yn(){return s`<h1>Entities</h1>
    <${le} path=${["entities"]} target=${t=>O(["entity",t.id])} />`}var wn=12,kn=[["labels","Labels"],["candidates","Below the threshold"],["all","All"]],vn=[["sure","Surest first"],["doubt","Most doubtful first"]];function xn(){let{rest:[t=""],params:e}=V.value,[n,o]=k(null),[r,i]=k(null),[a,c]=k(null),[u,d]=k(0);return A(()=>{let l=!0;return R.entity(t).then(m=>{l&&(et([m]),o(m))},m=>l&&c(m)),R.similar(t).then(m=>l&&i(m),()=>{}),()=>{l=!1}},[t,u]),a?s`<h1 class="unseen">Entity</h1><${U} error=${a} retry=${()=>{c(null),d(u+1)}} />
    <p class="center"><a href="#/entities">All entities</a></p>`:n?s`
    <article class="entity">
      <header class="entity-head">
        <div>
          <h1>${n.name}</h1>
          ${n.description&&s`<p class="lead">${n.description}</p>`}
          <ul class="chips" aria-label="Types">
            ${n.types.filter(at).map(l=>s`<li key=${l}><${Me} href=${O(["entities"],{type:l})}>${at(l)}<//></li>`)}
            <li><span class="faint">${n.id}</span></li>
          </ul>
          <${Sn} aliases=${n.aliases.filter(l=>l.toLowerCase()!==n.name.toLowerCase())} />
        </div>
        <div class="entity-side">
          <dl class="counts">
            <div><dt>named in</dt><dd>${Y(n.named)} <span>${n.named===1?"text":"texts"}</span></dd></div>
            <div><dt>shown in</dt><dd>${Y(n.images)} <span>${n.images===1?"image":"images"}</span></dd></div>
          </dl>
          <div class="actions">
            <a class="button main" href=${O(["search"],mt({...kt,entity:t}))}><${L} name="search" />Search for it</a>
            <a class="button" href=${O(["review","grid",t])}><${L} name="check" />Review its labels</a>
          </div>
        </div>
      </header>
      <${En} entity=${n} params=${e} />
      ${r?.length>0&&s`<section aria-labelledby="look-alikes"><h2 id="look-alikes">It may be mistaken for</h2>
        <ul class="entity-list">${r.map(l=>s`<li key=${l.id}>
          <a class="entity-card" href=${O(["entity",l.id])}><strong>${l.name}</strong>
            <span class="faint">${Mt(l)}</span>
            <span class="figure">${D(l.images,"image")}</span></a></li>`)}</ul></section>`}
    </article>`:s`<${B} />`}function Sn({aliases:t}){let[e,n]=k(!1);if(!t.length)return null;let o=e?t:t.slice(0,wn);return s`<p class="aliases"><span class="faint">also</span> ${o.join(" \xB7 ")}
    ${t.length>o.length&&s` <button class="link" onClick=${()=>n(!0)}>and ${t.length-o.length} more</button>`}</p>`}function En({entity:t,params:e}){let n=e.get("show")??"labels",o=e.get("order")==="doubt"?"doubt":"sure",r=Number(e.get("image"))||0,[i,a]=k(null),c={labels:!0,candidates:!1}[n],u={labels:t.images,candidates:t.named-t.images}[n]??t.named,d=Ft(async(p,$,h)=>({items:await R.entityImages(t.id,{order:o,accepted:c,limit:$,offset:p},h),total:u}),`${t.id} ${n} ${o} ${u} ${ht.value}`),l=(p,$=!0)=>{let h=new URLSearchParams(e);Object.entries(p).forEach(([f,g])=>g?h.set(f,g):h.delete(f)),tt(O(["entity",t.id],h),$)},m=()=>{let p=new URLSearchParams(e);p.delete("image"),Rt(O(["entity",t.id],p))},y=(p,$,h,f,g)=>s`<fieldset class="levels"><legend class="unseen">${p}</legend>
    ${h.map(([w,E])=>s`<label key=${w}><input type="radio" name=${$} checked=${w===f}
      onChange=${()=>l({[$]:w===g?"":w})} /><span>${E}</span></label>`)}</fieldset>`;return s`<section aria-labelledby="images">
    <div class="results-head"><h2 id="images">Images</h2>
      ${y("Which images","show",kn,n,"labels")}${y("Order","order",vn,o,"sure")}</div>
    ${d.error?s`<${U} error=${d.error} retry=${()=>d.retry()} />`:d.total===null?s`<${B} />`:d.total?s`<${Dt} label=${`Images of ${t.name}`} list=${d} entity=${t.id}
            tile=${(p,$,h)=>s`<${Pt} image=${p.image} active=${h} kind=${p.accepted?"":"beyond"}
              about=${`probability ${K(p.probability)}${p.verdict?`, judged ${Z[p.verdict]}`:""}`}
              onOpen=${()=>{a(p.image),l({image:String(p.image.id)},!1)}}>
              <div class="tile-row"><${dt} value=${p.probability} />
                ${p.verdict&&s`<span class=${`said ${p.verdict}`}>${Z[p.verdict]}</span>`}</div><//>`} />`:s`<${W} title="No image here">
          <p>${n==="labels"?"No image is labelled with it.":"There is none of this kind."}</p><//>`}
    ${r>0&&s`<${vt} id=${r} known=${i?.id===r?i:null}
      onClose=${m} onStep=${p=>{a(p),l({image:String(p.id)})}}
      onSearch=${p=>tt(O(["search"],mt({...kt,examples:[p]})))} />`}
  </section>`}var xt=([t,e,n,o])=>({x:(t+n)/2,y:(e+o)/2,zoom:1});function ue({deepest:t},[e,n,o]){let r=65536/2**Math.min(e,t);return{left:n*r,top:o*r,side:r}}function Oe(t,e){let n=Math.floor(t.byteLength/17),o=0,r=i=>{let a=new i(t,o,n);return o+=a.byteLength,a};return{...e,images:r(Float64Array),x:r(Uint16Array),y:r(Uint16Array),area:r(Uint16Array),type:r(Uint8Array),probability:r(Uint8Array),verdict:r(Uint8Array)}}var rt=(t,{width:e,height:n,bounds:[o,r,i,a]})=>t.zoom*Math.min(Math.max(1,e-32)/Math.max(1,i-o),Math.max(1,n-32)/Math.max(1,a-r));function pt(t,e,n,o){let r=rt(t,e);return[t.x+(n-e.width/2)/r,t.y+(o-e.height/2)/r]}function ft(t,e,n,o){let r=rt(t,e);return[(n-t.x)*r+e.width/2,(o-t.y)*r+e.height/2]}var qt=(t,e,n)=>Math.min(n,Math.max(e,t)),Vt=({x:t,y:e,zoom:n},[o,r,i,a])=>({x:qt(t,o,i),y:qt(e,r,a),zoom:qt(n,1,4e3)});function Yt(t,e,n,[o,r],[i,a]){let[c,u]=pt(t,e,o,r),d=qt(t.zoom*n,1,4e3),l=rt({...t,zoom:d},e);return Vt({x:c-(i-e.width/2)/l,y:u-(a-e.height/2)/l,zoom:d},e.bounds)}var St=(t,e,n,o=e.width/2,r=e.height/2)=>Yt(t,e,n,[o,r],[o,r]);function zt(t,e){let[n,o]=pt(t,e,0,0),[r,i]=pt(t,e,e.width,e.height);return[[n,o],[r,o],[r,i],[n,i]]}function de(t,e,n,o){let[[r,i],,[a,c]]=zt(e,n),u=t.tiles.filter(l=>{let m=ue(t,l);return m.left<=a&&m.top<=c&&m.left+m.side>=r&&m.top+m.side>=i}),d=[];for(let l=0,m=0;l<u.length&&m<o;){let y=l,p=0;for(;y<u.length&&u[y][0]===u[l][0];)p+=u[y++][3];let $=Math.min(1,(o-m)/p);for(;l<y;)d.push([u[l],Math.floor(u[l++][3]*$)]);m+=p}return d}function Ne(t,e,n,o){let r=null,i=o*o;for(let[a,c]of t){if(e+o<a.left||n+o<a.top||e-o>a.left+a.side||n-o>a.top+a.side)continue;let u=a.side/65536;for(let d=0;d<c;d+=1){let l=(a.left+a.x[d]*u-e)**2+(a.top+a.y[d]*u-n)**2;l<=i&&([r,i]=[{tile:a,row:d},l])}}return r}var Zt=(t,e)=>[t.left+t.x[e]*t.side/65536,t.top+t.y[e]*t.side/65536];function Ie(t,e,n){let o=!1;for(let r=0,i=t.length-1;r<t.length;i=r,r+=1){let[[a,c],[u,d]]=[t[r],t[i]];c>n!=d>n&&e<(u-a)*(n-c)/(d-c)+a&&(o=!o)}return o}var Le=t=>t.split(",").map(Number),ce=t=>Number(t.toFixed(2));function De(t){let e=Math.max(1,Math.ceil(t.length/60));return t.filter((n,o)=>o%e===0).map(n=>n.map(ce).join(",")).join(";")}function Xt(t){let e=t.split(";").map(Le),n=o=>o.length===2&&o.every(r=>Math.abs(r)<=1e6);return e.length>=3&&e.length<=500&&e.every(n)?e:null}function Pe(t,e){let n=[t.x,t.y,t.zoom].map(ce).join();return n===Object.values(xt(e)).map(ce).join()?"":n}function me(t,e){let[n,o,r,...i]=Le(t);return t&&!i.length&&[n,o,r].every(Number.isFinite)?Vt({x:n,y:o,zoom:r},e):xt(e)}var Qt=8,An=`#version 300 es
in float x; in float y; in float shade;
uniform vec4 box; uniform vec4 colours[16]; uniform float size;
flat out vec3 colour;
void main() {
  vec4 own = colours[int(shade)];
  gl_Position = vec4(x * box.x + box.z, y * box.y + box.w, shade / 16.0, 1.0);
  gl_PointSize = size * own.a;
  colour = own.rgb;
}`,Mn=`#version 300 es
precision lowp float;
flat in vec3 colour; out vec4 painted;
void main() { painted = vec4(colour, 1.0); }`;function pe(t){let e=t.getContext("webgl2",{antialias:!1,preserveDrawingBuffer:!0});return e?Tn(t,e):Cn(t)}function _e(t,{width:e,height:n}){let o=devicePixelRatio||1,[r,i]=[Math.round(e*o),Math.round(n*o)];return(t.width!==r||t.height!==i)&&([t.width,t.height]=[r,i]),o}function Fe(t,e){return Uint8Array.from(t.x,(n,o)=>e.shade(t,o))}function Tn(t,e){let n=e.createProgram();for(let[p,$]of[[e.VERTEX_SHADER,An],[e.FRAGMENT_SHADER,Mn]]){let h=e.createShader(p);e.shaderSource(h,$),e.compileShader(h),e.attachShader(n,h)}e.linkProgram(n),e.useProgram(n),e.enable(e.DEPTH_TEST),e.depthFunc(e.LEQUAL);let[o,r,i]=["box","colours","size"].map(p=>e.getUniformLocation(n,p)),a=new Map,c=new Set,u=null,d=1,l=(p,$,h,f)=>{let g=e.createBuffer(),w=e.getAttribLocation(n,p);return e.bindBuffer(e.ARRAY_BUFFER,g),e.bufferData(e.ARRAY_BUFFER,$,e.STATIC_DRAW),e.enableVertexAttribArray(w),e.vertexAttribPointer(w,1,h,f,0,0),g},m=({array:p,buffers:$})=>{e.deleteVertexArray(p),$.forEach(h=>e.deleteBuffer(h))},y=p=>{c.add(p);let $=a.get(p);if($?.key!==u.key){$&&m($);let h=e.createVertexArray();e.bindVertexArray(h),$={array:h,key:u.key,buffers:[l("x",p.x,e.UNSIGNED_SHORT,!0),l("y",p.y,e.UNSIGNED_SHORT,!0),l("shade",Fe(p,u),e.UNSIGNED_BYTE,!1)]},a.set(p,$)}e.bindVertexArray($.array)};return{clear(p,$){for(let[h,f]of a)c.has(h)||(m(f),a.delete(h));c=new Set,u=$,d=_e(t,p),e.viewport(0,0,t.width,t.height),e.uniform4fv(r,u.colours.flat()),e.clear(e.COLOR_BUFFER_BIT|e.DEPTH_BUFFER_BIT)},draw(p,$,h,f,g,w){y(p);let[E,b]=ft(f,g,p.left,p.top),M=p.side*rt(f,g);e.uniform4f(o,2*M/g.width,-2*M/g.height,2*E/g.width-1,1-2*b/g.height),e.uniform1f(i,w*d),e.drawArrays(e.POINTS,$,h-$)}}}function Cn(t){let e=t.getContext("2d"),n=new WeakMap,o=null;return{clear(r,i){o=i;let a=_e(t,r);e.setTransform(a,0,0,a,0,0),e.clearRect(0,0,r.width,r.height)},draw(r,i,a,c,u,d){n.get(r)?.key!==o.key&&n.set(r,{key:o.key,shades:Fe(r,o)});let{shades:l}=n.get(r),[m,y]=ft(c,u,r.left,r.top),p=r.side*rt(c,u)/65536;for(let $=o.colours.length-1;$>=0;$-=1){let[h,f,g,w]=o.colours[$],E=d*w;e.fillStyle=`rgb(${h*255} ${f*255} ${g*255})`;for(let b=i;b<a;b+=1)l[b]===$&&e.fillRect(m+r.x[b]*p-E/2,y+r.y[b]*p-E/2,E,E)}}}}var Rn=4,On=6e5;function je(t,e,n){let o=new Map,r=new Set,i=new AbortController,a=[],c=0,u=()=>{for(;r.size<Rn&&a.length;){let d=a.shift(),l=d.slice(0,3).join("/");r.has(l)||o.has(l)||(r.add(l),R.mapTile(l,t.state,i.signal).then(m=>{o.set(l,Oe(m,ue(t,d))),c+=d[3],e()}).catch(m=>{i.signal.aborted||n(m)}).finally(()=>{r.delete(l),u()}))}};return{take(d){let l=[],m=[];for(let[y,p]of d){let $=y.slice(0,3).join("/"),h=o.get($);if(!h){m.push(y);continue}o.delete($),o.set($,h),l.push([h,Math.min(p,h.x.length)])}for(let[y,p]of o){if(c<=On||o.size<=l.length)break;o.delete(y),c-=p.x.length}return a=m,u(),l},close:()=>i.abort()}}var Nn=.15,Jt=1.4,In=9,Ln=4,Dn=250,Ue=15e4,Pn=8e3,_n=20,Fn=300,jn=64,te=3e4;function Un(t){te=t>_n?Math.max(Pn,te*.75):Math.min(Ue,te*1.03)}function Bn({painter:t,tiles:e,plane:n,frame:o,size:r,style:i,radius:a},c,u){let d=new Map,l=!0,m=0,y=p=>{requestAnimationFrame(w=>Un(w-p));let $=Math.floor(te),h=$,f=(w,E)=>{let b=d.get(w)??0,M=Math.min(E,b+h);M<=b||(t.draw(w,b,M,o,r,a),d.set(w,M),h-=M-b)};if(l){t.clear(r,i);for(let[w,E]of e.take(de(n,o,r,$)))f(w,E);l=!1}let g=e.take(de(n,o,r,Ue));for(let[w,E]of g)h&&f(w,E);c($-h),m=0,g.some(([w,E])=>(d.get(w)??0)<E)?m=requestAnimationFrame(y):u(g)};return m=requestAnimationFrame(y),{stop:()=>cancelAnimationFrame(m),more:()=>{m||=requestAnimationFrame(y)}}}function Wn(t,e,n){let o=[],[[r,i],,[a,c]]=zt(e,n);for(let[d,l]of t){let[m,y,p,$]=[r-d.left,a-d.left,i-d.top,c-d.top].map(h=>h*65536/d.side);for(let h=0;h<l;h+=1){if(d.x[h]<m||d.x[h]>y||d.y[h]<p||d.y[h]>$)continue;let f=Zt(d,h),[g,w]=ft(e,n,...f);if(o.push({id:d.images[h],at:f,x:g,y:w,tile:d,row:h})>Fn)return[]}}let u=[];for(let d of o)u.every(({x:l,y:m})=>Math.max(Math.abs(l-d.x),Math.abs(m-d.y))>jn)&&u.push(d);return u}function Kn(t,e,n){let o=[];return t.areas.forEach(({entities:r,type:i,x:a,y:c},u)=>{let d=r[0]||i,[l,m]=ft(e,n,a,c),y=Math.min(90,10+4*d.length);!d||l<y||m<56||l>n.width-y||m>n.height-14||o.every(p=>Math.abs(p.top-m)>24||Math.abs(p.left-l)>p.half+y)&&o.push({place:u,name:d,left:l,top:m,half:y})}),o}function Be({plane:t,tiles:e,turn:n,style:o,frame:r,onFrame:i,lasso:a,marked:c,onLasso:u,onOpen:d}){let l=j(null),m=j(null),y=j([]),p=j(null),[$,h]=k(!1),[f,g]=k(null),[w,E]=k(null),[b,M]=k([]),[F,st]=k(null),q=j(null),z=j(new Map),I=()=>({width:l.current.clientWidth,height:l.current.clientHeight,bounds:t.bounds}),lt=Math.min(7,(t.images>2e4?2:t.images>2e3?3.6:6.4)*Math.sqrt(r.zoom)),x=l.current&&o(l.current);ye(()=>{if(!F)return;m.current??=pe(l.current);let v=0,S=l.current;return p.current=Bn({painter:m.current,tiles:e,plane:t,frame:r,size:F,style:x,radius:lt},C=>{S.dataset.marks=String(C)},C=>{y.current=C,S.dataset.drawn=String(C.reduce((T,[,H])=>T+H,0)),clearTimeout(v),v=setTimeout(()=>M(Wn(C,r,F)),Dn)}),()=>{p.current.stop(),clearTimeout(v)}},[t,e,r,x?.key,F]),A(()=>p.current?.more(),[n]),A(()=>{let v=l.current,S=()=>st(I());S();let C=new ResizeObserver(S);C.observe(v);let T=matchMedia("(prefers-color-scheme: dark)");T.addEventListener("change",S);let H=wt=>{wt.preventDefault();let[Xe,Qe]=N(wt);i(Je=>St(Je,I(),Math.exp(-wt.deltaY/400),Xe,Qe))},be=wt=>wt.preventDefault(),ge=()=>{m.current=pe(v),S()};return v.addEventListener("wheel",H,{passive:!1}),v.addEventListener("webglcontextlost",be),v.addEventListener("webglcontextrestored",ge),()=>{C.disconnect(),T.removeEventListener("change",S),v.removeEventListener("wheel",H),v.removeEventListener("webglcontextlost",be),v.removeEventListener("webglcontextrestored",ge)}},[t]);let N=v=>{let S=l.current.getBoundingClientRect();return[v.clientX-S.left,v.clientY-S.top]},P=(v,S)=>Ne(y.current,...pt(r,I(),v,S),In/rt(r,I())),_=()=>{let[[v,S],[C,T]]=z.current.values();return{apart:Math.max(1,Math.hypot(v-C,S-T)),middle:[(v+C)/2,(S+T)/2]}},Q=v=>{if(v.button)return;v.currentTarget.setPointerCapture(v.pointerId);let[S,C]=N(v);z.current.set(v.pointerId,[S,C]),E(null),g(null),z.current.size===2?q.current={frame:r,pinch:_()}:z.current.size===1?q.current={x:S,y:C,frame:r,path:$||v.shiftKey?[pt(r,I(),S,C)]:null}:q.current=null},Et=v=>{let[S,C]=N(v),T=q.current;if(z.current.has(v.pointerId)&&z.current.set(v.pointerId,[S,C]),T?.pinch){let H=_();i(()=>Yt(T.frame,I(),H.apart/T.pinch.apart,T.pinch.middle,H.middle))}else if(T?.path)T.path.push(pt(r,I(),S,C)),g([...T.path]);else if(T)i(()=>Yt(T.frame,I(),1,[T.x,T.y],[S,C]));else{let H=v.pointerType==="mouse"?P(S,C):null;E(H&&{id:H.tile.images[H.row],x:S,y:C})}},ee=()=>{z.current.clear(),q.current=null,g(null)},ze=v=>{let S=q.current;if(ee(),!S||S.pinch)return;let[C,T]=N(v),H=!S.path&&Math.hypot(C-S.x,T-S.y)<Ln&&P(C,T);S.path?.length>2?u(S.path):H&&d(H.tile.images[H.row])},Ze=v=>{let S={ArrowLeft:[-1,0],ArrowRight:[1,0],ArrowUp:[0,-1],ArrowDown:[0,1]}[v.key],C=Nn*Math.min(I().width,I().height)/rt(r,I());if(!(v.altKey||v.ctrlKey||v.metaKey)){if(S)i(T=>Vt({...T,x:T.x+S[0]*C,y:T.y+S[1]*C},t.bounds));else if(v.key==="+"||v.key==="=")i(T=>St(T,I(),Jt));else if(v.key==="-")i(T=>St(T,I(),1/Jt));else if(v.key==="0"||v.key==="Home")i(()=>xt(t.bounds));else if(v.key==="Enter")u(zt(r,I()));else if(v.key==="Escape"&&q.current)ee();else return;v.preventDefault()}},ne=(v,S,C)=>s`<button class="button" aria-label=${S} title=${S}
    onClick=${()=>{i(T=>v?St(T,I(),v):xt(t.bounds)),G(S)}}>${C}</button>`,oe=v=>F&&ft(r,F,...v),he=([v,S])=>({transform:`translate(${v}px, ${S}px)`}),re=F&&(f??a)?.map(v=>oe(v).map(S=>S.toFixed(1)).join()).join(" ");return s`<div class="map-frame">
    <div class="map-tools" role="group" aria-label="Map">
      <button class="button" aria-pressed=${$} onClick=${()=>h(!$)}><${L} name="lasso" />Lasso</button>
      ${ne(Jt,"Zoom in","+")}${ne(1/Jt,"Zoom out","\u2212")}${ne(0,"Show all","All")}
    </div>
    <canvas ref=${l} class=${$?"drawing":""} tabindex="0" role="application" aria-roledescription="map"
      data-zoom=${r.zoom.toFixed(2)} data-centre=${`${Math.round(r.x)},${Math.round(r.y)}`}
      aria-label="Map of the collection. Arrow keys move it, plus and minus zoom, 0 shows all, Enter chooses the images in view. Its areas are listed below."
      onPointerDown=${Q} onPointerMove=${Et} onPointerUp=${ze} onPointerCancel=${ee}
      onPointerLeave=${()=>E(null)} onKeyDown=${Ze} />
    ${F&&s`<div class="map-over" aria-hidden="true">
      ${b.map(({id:v,at:S,tile:C,row:T})=>s`<div key=${v} class="map-image" style=${{...he(oe(S)),borderColor:Gn(x,C,T)}}>
        <${X} image=${{id:v}} /></div>`)}
      <svg>${re&&s`<polygon class="lasso-edge" points=${re} /><polygon points=${re} />`}
        ${c.map(v=>{let[S,C]=oe(v);return s`<circle key=${v.join()} cx=${S} cy=${C} r="6" />`})}</svg>
      ${Kn(t,r,F).map(({place:v,name:S,left:C,top:T})=>s`<span key=${v} class="map-name"
        style=${he([C,T])}><span>${S}</span></span>`)}
    </div>`}
    ${w&&s`<div class="map-near" style=${{left:`${w.x}px`,top:`${w.y}px`}}>
      <${X} key=${w.id} image=${{id:w.id}} /></div>`}
  </div>`}function Gn({colours:t,shade:e},n,o){return`rgb(${t[e(n,o)].slice(0,3).map(r=>r*255).join(" ")})`}var Hn=300,[qn,Vn]=[500,100],We=[],Yn=.86;function zn(){let[t,e]=k(null),[n,o]=k(null),[r,i]=k(0);A(()=>{let u=!0;return R.map().then(d=>u&&e(d),d=>u&&o(d)),()=>{u=!1}},[r]);let a=()=>{o(null),i(r+1)},c=u=>u instanceof we&&u.status===409?i(r+1):o(u);return s`<h1>Map</h1>${n?s`<${U} error=${n} retry=${a} />`:t?t.images?s`<${eo} plane=${t} onError=${c} />`:s`<${W} title="There is no map"><p>${t.note}</p><//>`:s`<${B} />`}`}function Zn(t){let{types:e}=t;return{"":{title:"Types",of:(n,o)=>n.type[o],names:[...e.map(({type:n,images:o},r)=>[at(n)||n,r+1,o]),["other types",0,t.other],["no label",0,t.unlabelled]]},probability:{title:"Probability",of:(n,o)=>{let r=(n.probability[o]-1)/254;return r<0?4:r>=.95?0:r>=.8?1:r>=.5?2:3},names:[["95 % or more",4],["80 to 95 %",2],["50 to 80 %",1],["less than 50 %",6],["no label",0]]},verdict:{title:"Verdict",of:(n,o)=>(n.verdict[o]+3)%4,names:[["right",4],["wrong",6],["unsure",3],["not judged",0]]}}}function Xn(t,{names:e}){let n=getComputedStyle(t),o=a=>{let c=n.getPropertyValue(a).trim().slice(1).replace(/^(.)(.)(.)$/,"$1$1$2$2$3$3");return[0,2,4].map(u=>Number.parseInt(c.slice(u,u+2),16)/255)},r=o("--surface"),i=Array.from({length:Qt},(a,c)=>[...o(e[c]?.[1]?`--map-${e[c][1]}`:"--map-rest"),c===e.length-1?.6:1]);return[...i,...i.map(([a,c,u,d])=>[...[a,c,u].map((l,m)=>l+(r[m]-l)*Yn),d])]}function Qn(t){let{params:e}=V.value,n=e.get("at")??"",[o,r]=k(()=>me(n,t.bounds)),i=j(n);A(()=>{n!==i.current&&(i.current=n,r(me(n,t.bounds)))},[n]);let a=(c,u=!1)=>{let d=new URLSearchParams(V.value.params);Object.entries(c).forEach(([l,m])=>m?d.set(l,m):d.delete(l)),tt(O(["map"],d),u)};return A(()=>{let c=setTimeout(()=>{let u=Pe(o,t.bounds);u===i.current||V.value.view!=="map"||(i.current=u,a({at:u},!0))},Hn);return()=>clearTimeout(c)},[o]),{params:e,frame:o,setFrame:r,set:a}}function Jn(t,e,n,o){let[r,i]=k(null);return A(()=>{if(i(null),!e&&n===null)return;let a=new AbortController;return R.mapChosen(e?{lasso:Xt(e)}:{area:n},a.signal).then(c=>{i(c),G(`${D(c.total,"image")} chosen.`)},c=>{a.signal.aborted||o(c)}),()=>a.abort()},[t,e,n]),r}function to(t,e){let n=Ae(t)?JSON.stringify(_t(t)):"",[o,r]=k(We);return A(()=>{if(r(We),!n)return;let i=new AbortController;return(async()=>{let{hits:a,end:c}=await R.search({...JSON.parse(n),limit:qn},i.signal),u=a.slice(0,c||Vn).map(({image:m})=>m.id),{x:d,y:l}=u.length?await R.mapPlaces(u,i.signal):{x:[],y:[]};r(d.map((m,y)=>[m,l[y]])),G(`${D(d.length,"image")} marked.`)})().catch(a=>{i.signal.aborted||e(a)}),()=>i.abort()},[n]),{asked:n,marked:o}}function eo({plane:t,onError:e}){let{params:n,frame:o,setFrame:r,set:i}=Qn(t),[a,c]=k(null),[u,d]=k(0),{open:l,detail:m}=ae(["map"]),y=Xt(n.get("lasso")??"")?n.get("lasso"):"",p=At(()=>y?Xt(y):null,[y]),$=n.has("area")?Number(n.get("area")):null,h=!y&&t.areas[$]?$:null,f=Jn(t,y,h,e),g=Ee(n),{asked:w,marked:E}=to(g,e);A(()=>{$t(g.entity)},[g.entity]);let b=g.text||it.value[g.entity]||g.entity,M=At(()=>je(t,()=>d(I=>I+1),e),[t]);A(()=>M.close,[M]);let F=At(()=>Zn(t),[t]),st=n.get("colour")??"",q=Object.hasOwn(F,st)?st:"",z=I=>{let lt=Xn(I,F[q]),{of:x}=F[q],N=(P,_,Q)=>(a===null||a===Q)&&(h===null||P.area[_]===h)&&(!p||Ie(p,...Zt(P,_)));return{key:[lt,q,a,h,y].join("|"),colours:lt,shade:(P,_)=>{let Q=Math.min(Qt-1,x(P,_));return N(P,_,Q)?Q:Q+Qt}}};return s`
    <p class="lead">${D(t.images,"image")}; those that are alike lie near each other.${t.missing>0&&` ${D(t.missing,"image")} came since and are not on it: openmofi index map INDEX makes it anew.`}</p>
    ${w&&s`<div class="results-head"><p><strong>${D(E.length,"image")}</strong> marked${b?s`: ${b}`:" of a search"}</p>
      <button class="button" onClick=${()=>i(Object.fromEntries([...mt(g).keys()].map(I=>[I,""])))}>Mark none</button></div>`}
    <div class="map">
      <${Be} plane=${t} tiles=${M} turn=${u} style=${z} frame=${o} onFrame=${r} lasso=${p} marked=${E}
        onLasso=${I=>i({lasso:De(I),area:""})} onOpen=${l} />
      <div class="map-side">
        <${no} ways=${F} way=${q} bright=${a} onBright=${c}
          onWay=${I=>{c(null),i({colour:I},!0)}} />
        <${oo} plane=${t} area=${h} />
      </div>
    </div>
    ${f&&s`<${ro} key=${`${y} ${h}`} chosen=${f}
      onOpen=${I=>l(I.id,I)} onNone=${()=>i({lasso:"",area:""})} />`}
    ${m}`}function no({ways:t,way:e,bright:n,onBright:o,onWay:r}){let{names:i}=t[e];return s`<section aria-labelledby="legend"><h2 id="legend">${t[e].title}</h2>
    <label class="field inline"><span>Colours</span> <select value=${e} onChange=${a=>r(a.currentTarget.value)}>
      ${Object.entries(t).map(([a,{title:c}])=>s`<option key=${a} value=${a} selected=${a===e}>${c}</option>`)}</select></label>
    <ul class="legend">${i.map(([a,c,u],d)=>u!==0&&s`<li key=${a}>
      <button type="button" aria-pressed=${n===d} title=${`Let ${a} stand out`}
        onClick=${()=>o(n===d?null:d)}>
        <span class=${`swatch ${c?`of-${c}`:d===i.length-1?"small":""}`} />
        <span>${a}</span>${u!==void 0&&s` <span class="figure">${Y(u)}</span>`}</button></li>`)}</ul></section>`}function oo({plane:t,area:e}){return s`<section aria-labelledby="areas"><h2 id="areas">Areas</h2>
    <ol class="areas">${t.areas.map(({images:n,entities:o,type:r},i)=>s`<li key=${i}>
      <a href=${O(["map"],i===e?{}:{area:String(i)})} aria-current=${i===e?"true":void 0}>
        <span>${o.join(", ")||r||`Area ${i+1}`}</span> <span class="figure">${D(n,"image")}</span></a></li>`)}</ol>
  </section>`}function ro({chosen:{total:t,images:e},onOpen:n,onNone:o}){let r=j(null);return A(()=>{r.current.getBoundingClientRect().top>innerHeight-60&&r.current.scrollIntoView({block:"center"})},[]),s`<section aria-labelledby="chosen">
    <div class="results-head"><h2 id="chosen" ref=${r}>${D(t,"image")} chosen</h2>
      <button class="button" onClick=${o}>Choose none</button></div>
    ${t>e.length&&s`<p class="note" role="note">The first ${Y(e.length)} are listed: choose fewer to see all.</p>`}
    ${t?s`<${ie} ids=${e} picked onOpen=${n} />`:s`<${W} title="No image lies here"><p>Draw around some points, or take an area.</p><//>`}
  </section>`}var Ke=50,so=new Intl.DateTimeFormat("en",{dateStyle:"medium",timeStyle:"short"});function Ge(){let t=ut.value,[e,n]=k(null),[o,r]=k(!1),[i,a]=k(null),c=async m=>{a(null);try{await m()}catch(y){a(y)}},u=m=>c(async()=>{let y=await R.history({who:t,limit:Ke,offset:m.length});ut.value===t&&(n([...m,...y]),r(y.length===Ke))});A(()=>{n(null),u([])},[t]);let d=m=>c(async()=>{await bt([m.verdict.id]),n(y=>y.filter(p=>p!==m)),G(`${m.entity.name}: taken back.`)}),l=i&&s`<${U} error=${i} retry=${()=>u(e??[])} />`;return e?s`${l}
    ${e.length===0&&s`<${W} title="No verdicts yet"><p>${t?`None is by ${t}.`:"None was given without a name. Write your name to see yours."}</p><//>`}
    <ol class="history" aria-label="Verdicts, latest first">${e.map(m=>s`<${io} key=${m.verdict.id} row=${m} onUndo=${()=>d(m)} />`)}</ol>
    ${o&&s`<p class="center"><button class="button" onClick=${()=>u(e)}>Show more</button></p>`}`:l||s`<${B} />`}function io({row:t,onUndo:e}){let{verdict:n,image:o,entity:r,instead:i}=t;return s`<li>
    <span class="small-image">${o&&s`<${X} image=${o} />`}</span>
    <div><p><span class=${`said ${n.verdict}`}>${Z[n.verdict]}</span> <a href=${O(["entity",r.id])}>${r.name}</a>${i&&s`, it is <a href=${O(["entity",i.id])}>${i.name}</a>`}</p>
      <p class="faint">${o?s`<a href=${O(["images"],{ids:o.id,show:o.id})}>${nt(o)}</a>`:`${n.shard} \xB7 ${n.key}, no longer in the index`}
        ${" \xB7 "}<time datetime=${n.when}>${so.format(new Date(n.when))}</time></p></div>
    <button class="button small" aria-label=${`Take back: ${r.name} is ${Z[n.verdict]}`} onClick=${e}><${L} name="undo" />Undo</button></li>`}var ao=150,fe=8,lo=300;function co(){let t=(document.querySelector("main")?.clientWidth??innerWidth)-(innerWidth>760?48:32),e=Math.max(2,Math.floor((t+fe)/(ao+fe)));return Math.min(60,e*Math.max(3,Math.floor((innerHeight-lo)/(t/e))))}function He({entity:t,name:e}){let[n,o]=k(null),[r,i]=k({}),[a,c]=k(new Set),[u,d]=k([]),[l,m]=k(null),[y,p]=k(!1),[$,h]=k(0),f=j(null),g=j(null),w=async()=>{m(null);try{o(await R.review({entity:t,order:"doubt",accepted:!0,who:ut.value,limit:co()})),i({}),h(0)}catch(x){m(x)}};A(()=>{w()},[]);let E=async()=>{if(!(y||!n?.length)){if([...f.current.querySelectorAll("img")].some(x=>!x.complete)){G("Not all images are here yet.");return}p(!0),m(null);try{let x=await Nt(n.map(({image:P})=>({image:P,entity:t,value:M(P)}))),N=n.filter(({image:P})=>r[P.id]==="n").length;G(`${D(n.length,"label")} judged, ${N} of them wrong.`),d([...u,{ids:x,page:n,values:r}]),await w(),f.current?.querySelector("button")?.focus()}catch(x){m(x)}finally{p(!1)}}},b=async()=>{let x=u.at(-1);if(!(y||!x)){p(!0);try{await bt(x.ids),d(u.slice(0,-1)),o(x.page),i(x.values),G("The last page was taken back.")}catch(N){m(N)}finally{p(!1)}}},M=x=>r[x.id]??(a.has(x.id)?"u":"y"),F=(x,N)=>{let P=n[x]?.image.id;P!==void 0&&i(_=>({..._,[P]:N}))},st=(x,N)=>{let{id:P}=n[x].image;i(_=>({..._,[P]:M({id:P})===N?"y":N}))};ct(x=>{if(x.key==="z")return b(),!0;if(!n?.length)return!1;let N=Math.max(1,Math.round(f.current.clientWidth/(f.current.firstElementChild.offsetWidth+fe))),P={ArrowLeft:-1,ArrowRight:1,ArrowUp:-N,ArrowDown:N}[x.key],_=f.current.contains(document.activeElement),Q=_||document.activeElement===document.body||document.activeElement?.id==="main";if(x.key==="Enter"&&Q)!x.repeat&&E();else if(x.key==="n"||x.key==="x"||x.key===" "&&_)st($,"n");else if(x.key==="u")st($,"u");else if(x.key==="y")F($,"y");else if(P&&Q){let Et=Math.max(0,Math.min(n.length-1,$+P));h(Et),f.current.querySelectorAll("button")[Et].focus()}else return!1;return!0});let q=(x,N)=>{if(x.pointerType==="touch"||x.button)return;let P=M(n[N].image)==="n"?"y":"n";g.current=P,F(N,P);let _=()=>{setTimeout(()=>{g.current=null}),removeEventListener("pointerup",_)};addEventListener("pointerup",_)},z=x=>{if(!g.current||!x.buttons)return;let N=document.elementFromPoint(x.clientX,x.clientY)?.closest("[data-place]")?.dataset.place;N!==void 0&&F(Number(N),g.current)},I=n?.filter(({image:x})=>M(x)!=="y").length??0,lt=l&&s`<${U} error=${l} retry=${n?void 0:w} />`;return n?s`
    ${lt}
    ${n.length===0?s`<${W} title="All of its labels are judged">
        <p><a href=${O(["entity",t])}>See the entity</a> or <a href="#/review">choose another</a>.</p><//>`:s`<p class="keys"><kbd>←</kbd><kbd>→</kbd><kbd>↑</kbd><kbd>↓</kbd> move <kbd>n</kbd> or <kbd>Space</kbd> wrong
          <kbd>u</kbd> unsure <kbd>Enter</kbd> take the page <kbd>z</kbd> undo; or click and drag over what is wrong</p>
        <div class="judge-grid" ref=${f} role="group" aria-label=${`Labels of ${e}, the most doubtful first`} onPointerMove=${z}>
          ${n.map(({image:x},N)=>{let P=M(x);return s`<button key=${x.id} type="button" class=${`judge ${P}`} data-place=${N}
                tabindex=${N===$?0:-1} aria-label=${`${nt(x)}: ${Z[P]}`}
                onFocus=${()=>h(N)} onPointerDown=${_=>q(_,N)}
                onKeyDown=${_=>{_.key==="Enter"&&_.preventDefault()}}
                onClick=${_=>{_.detail&&!g.current&&st(N,"n")}}>
              <${X} key=${x.id} image=${x} onGone=${()=>c(_=>new Set(_).add(x.id))} />
              <span class="mark"><${L} name=${{y:"check",n:"close",u:"question"}[P]} /></span>
            </button>`})}
        </div>`}
    <div class="judge-bar">
      <button class="button main" disabled=${y||!n.length} onClick=${E}>
        <${L} name="check" />Take the page: ${n.length-I} right, ${I} not</button>
      <button class="button" disabled=${y||!u.length} onClick=${b}><${L} name="undo" /><span class="undo">Undo</span></button>
      <p class="faint">${u.length>0&&`${D(u.reduce((x,N)=>x+N.page.length,0),"label")} judged`}</p>
    </div>`:lt||s`<${B} />`}function qe({entity:t}){let[e,n]=k(null);if(A(()=>{let u=!0;return R.precision(t).then(d=>u&&n(d),()=>{}),()=>{u=!1}},[ht.value,t]),!e?.judged)return null;let{precision:o,lower:r,upper:i,judged:a,labels:c}=e;return s`<p class="precision" role="note">
    <span class="interval" aria-hidden="true"><span class="range" style=${{left:`${r*100}%`,width:`${(i-r)*100}%`}} />
      <span class="point" style=${{left:`${o*100}%`}} /></span>
    <span>Precision of the labels <strong>${K(o)}</strong>${`, between ${K(r)} and ${K(i)} (95 % interval), by ${D(a,"verdict")} on ${D(c,"label")}`}</span></p>`}var uo=20,mo=9,Ve={y:"yes",n:"no",u:"unsure"},$e=({image:t,entity:e})=>`${t.id} ${e.id}`;function Ye({entity:t}){let[e,n]=k(null),[o,r]=k([]),[i,a]=k(null),{current:c}=j(new Set),u=j(!1),d=async()=>{a(null);try{let g=await R.review({entity:t,order:"active",accepted:!0,who:ut.value,limit:uo+c.size});n(g.filter(w=>!c.has($e(w))))}catch(g){a(g)}};A(()=>{d()},[]);let l=e?.[0],m=()=>(c.add($e(l)),y()),y=async()=>e.length>1?n(e.slice(1)):d(),p=async(g,w="",E="")=>{if(!(u.current||!l)){u.current=!0,a(null);try{let b=await Nt([{image:l.image,entity:l.entity.id,value:g,instead:w}]);r([...o,{ids:b,item:l,value:g,name:E}]),G(`${E?`It is ${E}`:`You said ${Ve[g]}`}.`),await y()}catch(b){a(b)}finally{u.current=!1}}},$=async()=>{let g=o.at(-1);if(!(u.current||!g)){u.current=!0;try{await bt(g.ids),r(o.slice(0,-1)),n([g.item,...e??[]]),G("The last verdict was taken back.")}catch(w){a(w)}finally{u.current=!1}}};ct(g=>g.key!=="z"||g.repeat?!1:($(),!0));let h=o.at(-1),f=i&&s`<${U} error=${i} retry=${e?void 0:d} />`;return s`${f}
    ${!e&&!i&&s`<${B} />`}
    ${e&&(l?s`<${po} key=${$e(l)} item=${l} onDecide=${p} onSkip=${m} />`:s`<${W} title="Everything is judged"><p>${t?"None of its labels is left.":"No label is left."}
          ${" "}<a href="#/review">Choose an entity</a></p><//>`)}
    <div class="judge-bar">
      <button class="button" disabled=${!h} onClick=${$}><${L} name="undo" /><span class="undo">Undo</span></button>
      <p class="faint" data-last>${h&&s`${h.item.entity.name}: you said ${Ve[h.value]}${h.name&&`, it is ${h.name}`};
        the labels gave it ${K(h.item.probability)}. ${D(o.length,"label")} judged.`}</p>
    </div>`}function po({item:t,onDecide:e,onSkip:n}){let{image:o,entity:r}=t,[i,a]=k(null),[c,u]=k(null),[d,l]=k(!1);A(()=>{let b=!0;return R.reading(o.id).then(M=>b&&u(M),()=>{}),R.recogniseImage(o.id).then(M=>b&&a(M.entities),()=>b&&a([])),()=>{b=!1}},[]);let m=i?.find(b=>b.entity.id===r.id)?.evidence??[],y=c?.candidates??[],p=new Set(y.filter(b=>b.entity===r.id).map(b=>b.mention)),$=[...new Set([...p].map(b=>c.mentions[b]?.kind).filter(Boolean))],h=new Map(y.map(b=>[b.entity,b.description])),f=new Map(y.filter(b=>p.has(b.mention)).map(b=>[b.entity,b.name]));o.labels.forEach(b=>f.set(b.entity,b.name)),i?.filter(b=>(b.probability??1)>=Ut).forEach(b=>{f.set(b.entity.id,b.entity.name),h.set(b.entity.id,b.entity.description)}),f.delete(r.id);let g=[r.name,...f.values()],w=c?.text===o.text&&p.size?Ct(o.text,c.mentions.map(({start:b,end:M},F)=>({start:b,end:M,kind:p.has(F)?"meant":"other"}))):Tt(o.text,[r.name,...r.aliases]),E=[...f].slice(0,mo);return ct(b=>{if(b.repeat)return!1;let M=E[Number(b.key)-1];if(["y","n","u"].includes(b.key))e(b.key);else if(b.key==="s")n();else if(b.key==="i")l(!0);else if(M)e("n",...M);else return!1;return!0}),s`<div class="single">
    <div class="stage"><button class="plain" aria-label="Look closely" onClick=${()=>jt(o)}>
      <${gt} src=${J(o.id)} alt=${o.text?"":o.key} width=${o.width} height=${o.height} /></button></div>
    <div class="about">
      <h2 class="question">Does it show <a href=${O(["entity",r.id])}>${r.name}</a>?</h2>
      ${r.description&&s`<p class="lead">${r.description}</p>`}
      ${o.text&&s`<blockquote class="caption">${w.map(b=>b.mark?s`<mark class=${b.mark}>${b.text}</mark>`:b.text)}</blockquote>`}
      ${$.length>0&&s`<p class="faint named-in">Named in ${$.join(", ")}</p>`}
      <div class="verdicts" role="group" aria-label="Verdict">
        <button class="button yes" onClick=${()=>e("y")}><${L} name="check" />Yes <kbd>y</kbd></button>
        <button class="button no" onClick=${()=>e("n")}><${L} name="close" />No <kbd>n</kbd></button>
        <button class="button" onClick=${()=>e("u")}><${L} name="question" />Unsure <kbd>u</kbd></button>
        <button class="button" onClick=${n}>Skip <kbd>s</kbd></button>
      </div>
      <section aria-label="It is this instead"><h3>It is this instead</h3>
        <ul class="chips">${E.map(([b,M],F)=>s`<li key=${b}><span class="chip">
          <button type="button" class="chip-text" title=${h.get(b)} onClick=${()=>e("n",b,M)}><kbd>${F+1}</kbd> ${M}${g.indexOf(M)!==g.lastIndexOf(M)&&h.get(b)&&s` <span class="homonym">${h.get(b)}</span>`}</button></span></li>`)}
          ${!d&&s`<li key="another"><span class="chip"><button type="button" class="chip-text" onClick=${()=>l(!0)}>
            <kbd>i</kbd> Another</button></span></li>`}</ul>
        ${d&&s`<div class="instead"><${It} label="It is instead" placeholder="name of an entity" focused
          onEntity=${b=>e("n",b.id,b.name)} /></div>`}</section>
      ${m.length>0&&s`<section aria-label="Evidence"><h3>Near it, and labelled ${r.name}</h3>
        <div class="evidence">${m.map(([b,M])=>s`<span key=${b.id} class="small-image" title=${`similarity ${M.toFixed(2)}`}>
          <${X} image=${b} /></span>`)}</div></section>`}
    </div>
  </div>`}function fo(){let{rest:[t="",e=""]}=V.value;A(()=>$t(e),[e]);let n=it.value[e]??e;if(ve.value.has(e))return s`<h1 class="unseen">Review</h1><${W} title=${`The index has no entity ${e}`}>
    <p><a href="#/review">Choose another</a></p><//>`;if(t&&!["grid","single","history"].includes(t))return s`<h1 class="unseen">Review</h1><${W} title="There is no such view">
    <p><a href="#/review">Go to the review</a></p><//>`;let o=t==="grid"&&e;return s`
    <header class="review-head">
      <div>
        <h1>${o?n:t==="single"?e?n:"Single labels":t==="history"?"My verdicts":"Review"}</h1>
        ${t!=="single"&&s`<p class="lead">${o?"Everything here is taken as right. Mark what does not show it.":t==="history"?"What you said, latest first. Each can be taken back.":"Choose an entity to judge its labels by the page, or judge single labels, the most telling first."}</p>`}
      </div>
      <div class="review-tools">
        <${xe} />
        ${t&&s`<nav aria-label="Ways to review" class="actions">
          ${o?s`<a class="button" href=${O(["review","single",e])}>One by one</a>`:e&&s`<a class="button" href=${O(["review","grid",e])}>As a grid</a>`}
          <a class="button" href="#/review">Other entities</a></nav>`}
      </div>
    </header>
    <${qe} entity=${e} />
    ${o?s`<${He} key=${e} entity=${e} name=${n} />`:t==="history"?s`<${Ge} />`:t==="single"?s`<${Ye} key=${e} entity=${e} />`:s`<p class="actions"><a class="button main" href="#/review/single">Judge single labels</a>
            <a class="button" href="#/review/history">My verdicts</a>
            <a class="button" href="api/verdicts.parquet" download>Verdicts as Parquet</a></p>
          <h2>Entities</h2>
          <${le} path=${["review"]} target=${r=>O(["review","grid",r.id])}
            tail=${r=>D(r.images,"label")} />`}`}export{vt as Detail,yn as Entities,xn as Entity,un as ExampleDialog,bn as Images,zn as MapView,hn as Rail,fo as Review};
