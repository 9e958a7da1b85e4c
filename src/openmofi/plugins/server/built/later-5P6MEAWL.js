import{$ as Ct,A as bt,B as Y,C as yt,D as kt,E as U,G as C,H,I as wt,J as A,K as F,M as P,N as O,O as N,P as vt,Q,R as J,S as Zt,T as it,U as xt,V as st,W as St,X as B,Y as Xt,Z as Et,_ as _t,aa as tt,b as k,ba as q,c as T,ca as Tt,d as Gt,da as mt,e as W,f as ot,fa as pt,ga as Qt,h as o,ja as At,ka as Jt,l as M,m as Vt,n as z,q as rt,r as Yt,u as V,v as gt,w as K,x as L,y as j,z as X}from"./chunk-S5677SJP.js";async function Mt(t){let{default:n}=await import("./photoswipe.esm-5BWHUGVW.js"),{width:e,height:r}=t.width?t:{width:1600,height:1200};new n({dataSource:[{src:z(t.id),msrc:Vt(t),width:e,height:r,alt:Y(t)}],appendToEl:document.querySelector("dialog[open]")??document.body,showHideAnimationType:"none",bgOpacity:.94,zoom:!0,arrowKeys:!1,maxZoomLevel:8,closeTitle:"Close",zoomTitle:"Zoom",errorMsg:"The image cannot be loaded."}).init()}var ge=3,be={below_threshold:"below the threshold",sibling_preferred:"a similar entity is likelier",beyond_top_k:"other labels of this image are likelier"};function ye(t,n,e){let r=new Map(t.labels.map(s=>[s.entity,{...s,candidate:null}]));for(let s of n?.candidates??[]){let a=r.get(s.entity)??{...s,candidate:null};r.set(s.entity,{...a,candidate:a.candidate??s})}for(let[s,a]of e)r.has(s)||r.set(s,{entity:s,name:rt.value[s]??s,probability:null,by:a.who});let i=s=>s.accepted||s.probability===null?1:0;return[...r.values()].sort((s,a)=>i(a)-i(s)||(a.probability??0)-(s.probability??0))}function ke(t,n){let{prior:e,link_score:r,image_score:i,reason:s}=t,a=n.mentions[t.mention],l=[e!==null&&`means this in ${j(e)} of its uses`,r!==null&&r>=0&&r<=1&&`${j(r)} with the rest of the text`].filter(Boolean).join(", "),c=n.candidates.filter(m=>m.image_score!==null),p=c.filter(m=>m.mention===t.mention),d=p.length>1?p:c,f=d.reduce((m,$)=>$.image_score>m.image_score?$:m,t),v=i!==null&&d.length>1&&(f.entity===t.entity?`of ${L(d.length,"candidate")} the image is closest to this one`:`the image is closer to ${f.name}`);return[a&&`\u201C${a.surface}\u201D${a.kind?` (${a.kind})`:""} ${l}`.trim(),v,be[s]].filter(Boolean).join("; ")}function te({image:t,reading:n,verdicts:e}){let[r,i]=k(!1),[s,a]=k(!1),l=ye(t,n,e.said),c=l.filter((d,f)=>r||f<ge||d.accepted||e.said.has(d.entity));T(()=>{e.said.forEach((d,f)=>{l.some(v=>v.entity===f&&v.candidate)||gt(f)})},[e.said]);let p=d=>{a(!1),V([d]),e.give(d,"y",!1)};return o`<section aria-label="Labels"><h3>Labels</h3>
    ${e.error&&o`<${P} error=${e.error} />`}
    <ul class="label-list">${c.map(d=>o`<li key=${d.entity} class=${d.accepted||d.probability===null?"":"candidate"}>
      <div class="recognised"><a href=${C(["entity",d.entity])} title=${d.description}>${d.name}</a>
        ${d.probability===null?o`<span class="faint">${d.by?`said by ${d.by}`:"said by a person"}</span>`:o`<${tt} value=${d.probability} />`}
        <${Et} entity=${{id:d.entity,name:d.name}} verdicts=${e} /></div>
      ${d.candidate&&o`<p class="faint">${ke(d.candidate,n)}</p>`}</li>`)}</ul>
    ${!l.length&&o`<p class="faint">It has none.</p>`}
    <p class="actions">
      ${l.length>c.length&&o`<button class="link" onClick=${()=>i(!0)}>and ${L(l.length-c.length,"candidate")} more</button>`}
      ${!s&&o`<button class="button small" onClick=${()=>a(!0)}><${A} name="plus" />Add a label</button>`}</p>
    ${s&&o`<${St} label="It also shows" placeholder="name of an entity" focused onEntity=${p} />`}
  </section>`}function at({src:t,alt:n,width:e=0,height:r=0,children:i}){let[s,a]=k(r?e/r:0),[l,c]=k(!1);return l?o`<p class="faint">The image cannot be shown. It may have been moved, or is of a kind that browsers do not show.</p>`:o`<div class="large" style=${s?{"--ratio":String(s)}:{}}>
    <img src=${t} alt=${n} draggable=${!1} onError=${()=>c(!0)}
      onLoad=${p=>a(p.currentTarget.naturalWidth/p.currentTarget.naturalHeight)} />
    ${i}
  </div>`}var It=.01;function Lt({image:t,upload:n,region:e,verdicts:r}){let[i,s]=k(null),[a,l]=k(null),[c,p]=k(0),[d,f]=k(!1);if(T(()=>{let $=!0;return s(null),l(null),(t===void 0?M.recogniseUpload(n,e):M.recogniseImage(t,e)).then(w=>$&&s(w),w=>$&&l(w)),()=>{$=!1}},[t,n,e?.join(),c]),a)return o`<${P} error=${a} retry=${()=>p(c+1)} />`;if(!i)return o`<${N} what="Recognising" />`;let v=i.entities.filter(({probability:$},w)=>d||!w||($??1)>=It),m=i.entities.length-v.length;return o`<section class="recognition" aria-label="What it may show">
    ${i.note&&o`<p class="note">${i.note}</p>`}
    ${i.uncalibrated&&o`<p class="faint why">${i.uncalibrated}</p>`}
    <ol>${v.map($=>o`<li key=${$.entity.id}>
      <div class="recognised">
        <a href=${C(["entity",$.entity.id])}>${$.entity.name}</a>
        <${tt} value=${$.probability} />
        ${r&&o`<${Et} entity=${$.entity} verdicts=${r} />`}
      </div>
      ${$.entity.description&&o`<p class="faint">${$.entity.description}</p>`}
      ${$.evidence.length>0&&o`<div class="evidence" role="group" aria-label=${`Labelled ${$.entity.name}, and near`}>
        ${$.evidence.map(([w])=>o`<span key=${w.id} class="small-image">
          <${q} image=${w} /></span>`)}</div>`}
      ${$.siblings.length>0&&o`<p class="faint">or ${$.siblings.map((w,u)=>o`${u?", ":""}
        <a href=${C(["entity",w.id])} title=${w.description}>${w.name}</a>`)}</p>`}
    </li>`)}</ol>
    ${m>0&&o`<p><button class="link" onClick=${()=>f(!0)}>and ${m} below ${j(It)}</button></p>`}
    ${i.unnamed!==null&&o`<div class="recognised none">
      <span>none of what the labels name</span>
      <${tt} value=${i.unnamed} />
    </div>`}
  </section>`}var Rt=.02,Dt=.04,Z=(t,n,e)=>Math.min(e,Math.max(n,t)),ee=t=>Z(Number(t.toFixed(4)),0,1),ne=([t,n,e,r])=>`from ${j(t)} to ${j(e)} across, ${j(n)} to ${j(r)} down`;function Pt({region:t,onRegion:n,onDone:e}){let r=W(null),i=W(null),[s,a,l,c]=t??[.25,.25,.75,.75],p=m=>{let $=r.current.getBoundingClientRect();return[Z((m.clientX-$.left)/$.width,0,1),Z((m.clientY-$.top)/$.height,0,1)]},d=m=>{if(!i.current)return;let[$,w]=p(m),[u,g]=i.current,y=[Math.min($,u),Math.min(w,g),Math.max($,u),Math.max(w,g)];y[2]-y[0]>=Dt&&y[3]-y[1]>=Dt&&n(y.map(ee))},f=m=>{let[$,w]={ArrowLeft:[-Rt,0],ArrowRight:[Rt,0],ArrowUp:[0,-Rt],ArrowDown:[0,Rt]}[m.key]??[];if(m.key==="Enter"&&(m.preventDefault(),e([s,a,l,c])),$===void 0)return;m.preventDefault();let u=m.shiftKey?[s,a,Z(l+$,s+Dt,1),Z(c+w,a+Dt,1)]:[s+Z($,-s,1-l),a+Z(w,-a,1-c),l+Z($,-s,1-l),c+Z(w,-a,1-c)];n(u.map(ee)),F(ne(u))},v=()=>{i.current=null};return o`<div class="region-frame" ref=${r}
      onPointerDown=${m=>{m.preventDefault(),m.currentTarget.setPointerCapture(m.pointerId),i.current=p(m)}}
      onPointerMove=${d} onPointerUp=${v} onPointerCancel=${v}>
    <div class="region" role="application" tabindex="0" aria-roledescription="region"
      aria-label=${`Region ${ne([s,a,l,c])}. Arrow keys move it, Shift and arrow keys change its size, Enter searches.`}
      onKeyDown=${f}
      style=${{left:`${s*100}%`,top:`${a*100}%`,width:`${(l-s)*100}%`,height:`${(c-a)*100}%`}} />
  </div>`}var Nt=t=>t?.image??t;function we(t,n){for(let e=0;e<t.total;e+=1)if(Nt(t.at(e))?.id===n)return e;return-1}function ve(t,n){let e=_t.value?.list,r=W({id:0,place:-1}),[i,s]=k(-1);e&&(r.current.id!==t||r.current.place<0)&&(r.current={id:t,place:we(e,t)});let{place:a}=r.current,l=e&&a>=0?[a-1,a+1].filter(f=>f>=0&&f<e.total):[],c=l.map(f=>Nt(e.at(f))?.id).join();T(()=>{l.some(f=>!e.at(f))&&e.look(Math.max(0,a-1),a+2);for(let f of l)e.at(f)&&(new Image().src=z(Nt(e.at(f)).id))},[a,c]);let p=i>=0&&Nt(e?.at(i));return T(()=>{p&&(r.current={id:p.id,place:i},s(-1),n(p))},[p]),{step:f=>{l.includes(a+f)&&s(a+f)},place:a,total:e?.total??0,can:f=>l.includes(a+f)}}function $t({id:t,known:n,onClose:e,onSearch:r,onStep:i}){let[s,a]=k({id:0}),[l,c]=k(!1),{step:p,place:d,total:f,can:v}=ve(t,i),m=W(d),$=W(-1),w=n??(s.id===t?s.image:null),u=s.id===t?s.error:null;T(()=>{n||M.image(t).then(h=>a({id:t,image:h}),h=>a({id:t,error:h}))},[t]),Q(h=>{if(document.querySelector(".pswp"))return!1;if(h.key==="?")c(!l);else if(h.key==="ArrowLeft"||h.key==="ArrowRight")p(h.key==="ArrowLeft"?-1:1);else return!1;return!0},{inDialog:!0});let g=()=>{$.current=d>=0&&d!==m.current?d:-1,e()};T(()=>()=>{$.current>=0&&setTimeout(()=>_t.value?.move($.current))},[]);let y=(h,D,_)=>o`<button class="round" aria-label=${D} title=${D} disabled=${!v(h)}
    onClick=${()=>p(h)}><${A} name=${_} /></button>`,R=o`<div class="steps">
    ${d>=0&&o`${y(-1,"Previous image","left")}
      <span class="figure" role="status">${K(d+1)} of ${K(f)}</span>${y(1,"Next image","right")}`}
    <button class="round wide-only" aria-label="Keys" title="Keys" aria-expanded=${l} onClick=${()=>c(!l)}><${A} name="keys" /></button></div>`;return o`<${vt} title=${w?Y(w):"Image"} kind="wide" tools=${R} onClose=${g}>
    ${l&&o`<p class="keys"><kbd>←</kbd> previous <kbd>→</kbd> next <kbd>Tab</kbd> to labels and buttons
      <kbd>?</kbd> keys <kbd>Esc</kbd> close</p>`}
    ${u?o`<${P} error=${u} />`:w?o`<${xe} key=${t} image=${w} onSearch=${r} />`:o`<${N} />`}
  <//>`}function xe({image:t,onSearch:n}){let{id:e}=t,[r,i]=k(!1),[s,a]=k(null),[l,c]=k(!1),[p,d]=k(null),f=Xt(t);T(()=>{let $=!0;return M.reading(e).then(w=>$&&d(w),()=>{}),()=>{$=!1}},[]);let v=r?s??[.25,.25,.75,.75]:null,m=()=>n({image:e,weight:1,region:v});return o`<div class="detail">
    <div class="stage">
      <${at} src=${z(e)} alt=${Y(t)} width=${t.width} height=${t.height}>
        ${r&&o`<${Pt} region=${s} onRegion=${a} onDone=${m} />`}<//>
    </div>
    <div class="about">
      <div class="actions">
        <button class="button main" onClick=${m}><${A} name="search" />
          ${r?"Search with the region":"Search like this"}</button>
        <button class="button" onClick=${()=>i(!r)}>
          <${A} name="crop" />${r?"Whole image":"Select a region"}</button>
        <button class="button" onClick=${()=>Mt(t)}><${A} name="closer" />Look closely</button>
        <button class="button" aria-pressed=${l} onClick=${()=>c(!l)}>
          <${A} name="tag" />Recognise</button>
        <a class="button" href=${z(e)} download><${A} name="download" />Download</a>
      </div>
      ${r&&o`<p class="faint">Drag over the image, or move the frame with the arrow keys and change its size
        with Shift and the arrow keys.</p>`}
      ${l&&o`<${Lt} image=${e} region=${v} verdicts=${f} />`}
      <${te} image=${t} reading=${p} verdicts=${f} />
      ${t.text.trim()&&o`<${Se} image=${t} reading=${p} />`}
      <${Ee} image=${t} />
    </div>
  </div>`}function Se({image:t,reading:n}){let e=new Set(n?.candidates.filter(({accepted:l})=>l).map(({mention:l})=>l)),r=n?.text===t.text?n.mentions:[],i=r.length?kt(t.text,r.map(({start:l,end:c},p)=>({start:l,end:c,kind:String(p)}))):yt(t.text,t.labels.filter(({accepted:l})=>l).map(({name:l})=>l)),s=({text:l,mark:c})=>{let{kind:p="",detector:d="",reason:f=""}=r[c]??{};return c?o`<mark class=${!r.length||e.has(Number(c))?"meant":"other"}
      title=${[p,d,f].filter(Boolean).join(" \xB7 ")}>${l}</mark>`:l},a=[...new Set(r.map(({kind:l})=>l).filter(Boolean))];return o`<section aria-label="Text"><h3>Text</h3>
    <blockquote class="caption" tabindex="0">${i.map(s)}</blockquote>
    ${a.length>0&&o`<p class="faint named-in">Names in ${a.join(", ")}</p>`}</section>`}function Ee({image:t}){let n=Object.entries(t.columns).filter(([,e])=>e!==null&&e!=="");return o`<dl class="facts">
    ${t.width>0&&o`<dt>Size</dt><dd>${t.width} × ${t.height}</dd>`}
    <dt>File</dt><dd>${t.path||`${t.shard} \xB7 ${t.key}`}</dd>
    ${/^https?:\/\//.test(t.url)&&o`<dt>From</dt><dd><a href=${t.url} rel="noreferrer noopener" target="_blank">${t.url}</a></dd>`}
    ${n.map(([e,r])=>o`<dt>${e}</dt><dd>${String(r)}</dd>`)}
  </dl>`}function Ce({example:t,src:n,name:e,onClose:r,onRegion:i}){let[s,a]=k(t.region),[l,c]=k(!1),p=t.upload?n:z(t.image);return o`<${vt} title=${`Part of ${e}`} kind="wide" onClose=${r}>
    <div class="detail">
      <div class="stage">${p?o`<${at} src=${p} alt=${e}>
          <${Pt} region=${s} onRegion=${a} onDone=${i} /><//>`:o`<p class="faint">This image was sent before the page was loaded; it is not kept here.</p>`}</div>
      <div class="about">
        <p class="faint">Drag over the image, or move the frame with the arrow keys and change its size with Shift and the
          arrow keys.</p>
        <div class="actions">
          <button class="button main" disabled=${!s} onClick=${()=>i(s)}>
            <${A} name="crop" />Search with the region</button>
          <button class="button" disabled=${!t.region} onClick=${()=>i(null)}>Whole image</button>
          <button class="button" aria-pressed=${l} onClick=${()=>c(!l)}>
            <${A} name="tag" />Recognise</button>
        </div>
        ${l&&o`<${Lt} image=${t.image} upload=${t.upload} region=${s} />`}
      </div>
    </div>
  <//>`}var Te=6,Ae=new Set(["date","licence","license"]),Me=new Intl.DateTimeFormat("en",{month:"long",year:"numeric",timeZone:"UTC"}),Ie={type:({value:t,name:n})=>n===t?X(t):n,verdict:({value:t})=>B[t],folder:({value:t})=>t.split("/").pop(),date:({value:t})=>t.length>4?Me.format(new Date(`${t}-01`)):t};function Le(t){let[n,e]=t.split("-").map(Number);return[new Date(Date.UTC(n,e?e-1:0)),new Date(Date.UTC(n,e||12,0))].map(r=>r.toISOString().slice(0,10))}function Re({query:t,columns:n,onFilters:e}){let[r,i]=k(null),[s,a]=k(null),{filters:l}=t,c={...Qt(t),order:""};T(()=>{let u=new AbortController;return a(null),M.facets(c,u.signal).then(g=>{V((g.values.entity??[]).map(({value:y,name:R})=>({id:y,name:R}))),i(g)},g=>{g.name!=="AbortError"&&a(g)}),()=>u.abort()},[JSON.stringify(c),it.value]);let p=u=>e({...l,...u}),d=(u,g,y={})=>o`<label class="field"><span>${g}</span>
    <input type="text" value=${l[u]??""} ...${y}
      onChange=${R=>p({[u]:R.currentTarget.value.trim()})} /></label>`,f=u=>(r?.values[u]??[]).map(g=>({...g,name:(Ie[u]??(()=>g.name))(g)})).filter(g=>g.name),v=(u,g=y=>({[u]:y}))=>o`<ul class="facet-values">
    ${f(u).map(({value:y,name:R,images:h})=>o`<li key=${y}>
      <button type="button" class="facet-value" title=${y} onClick=${()=>p(g(y))}><span>${R}</span>
        <span class="figure">${K(h)}<span class="unseen"> images</span></span></button></li>`)}</ul>`,m=(u,g,y)=>(l[u]||f(u).length>0)&&o`<section><h2>${g}</h2>
    ${l[u]?o`<button type="button" class="facet-value" aria-pressed="true" onClick=${()=>p({[u]:""})}>
        <span>${y}</span><${A} name="close" /></button>`:v(u)}</section>`,$=Number(l.min_probability??0),w=new Map(f("min_probability").map(({value:u,images:g})=>[Number(u),g]));return o`<div id="filters" class="rail" role="group" aria-label="Filters">
    ${s&&o`<${P} error=${s} />`}
    ${r?o`<p class="faint">${r.ranked?"The best ":""}${L(r.images,"image")}, near-duplicates counted too</p>`:!s&&o`<${N} what="Counting" />`}
    ${m("type","Type",X(l.type??"")||l.type)}
    ${m("entity","Entity",rt.value[l.entity]??l.entity)}
    <section><label class="field"><span>Label probability at least</span>
      <select value=${String($)} onChange=${u=>p({min_probability:u.currentTarget.value})}>
        ${[0,.5,.8,.9,.95].map(u=>o`<option value=${String(u)} selected=${u===$}>
          ${u?`${Math.round(u*100)} %`:"any"}${w.has(u)?` \xB7 ${K(w.get(u))}`:""}</option>`)}
      </select></label></section>
    ${m("verdict","People said of a label",B[l.verdict])}
    <section>${d("folder","Folder",{placeholder:"/photos/2024"})}${v("folder")}</section>
    ${n.includes("date")&&o`<section>${d("since","From day",{type:"date"})}${d("until","To day",{type:"date"})}
      ${v("date",u=>{let[g,y]=Le(u);return{since:g,until:y}})}</section>`}
    ${n.some(u=>u==="licence"||u==="license")&&o`<section>
      ${d("licence","Licence",{placeholder:"cc-by*"})}${v("licence")}</section>`}
    ${n.filter(u=>!Ae.has(u)).slice(0,Te).map(u=>o`<section key=${u}>
      ${d(`column.${u}`,u)}${v(`column.${u}`)}</section>`)}
  </div>`}function Kt({ids:t,picked:n=!1,onOpen:e}){let r=At(async(i,s,a)=>{let l=t.slice(i,i+s),c=new Map(l.length?(await M.images(l,a)).map(p=>[p.id,p]):[]);return{items:l.map(p=>c.get(p)??{id:p,key:"no longer in the index",text:"",labels:[]}),total:t.length}},"");return r.error?o`<${P} error=${r.error} retry=${()=>r.retry()} />`:r.total===null?o`<${N} />`:o`<${Ct} label="Chosen images" list=${r} picked=${n?t:[]}
    tile=${(i,s,a)=>o`<${Tt} image=${i} active=${a} onOpen=${()=>e(i)}>
      <p class="tile-label faint">${i.labels.find(l=>l.accepted)?.name}</p><//>`} />`}function Bt(t){let[n,e]=k(null),{params:r}=U.value,i=Number(r.get("show"))||0,s=c=>{let p=new URLSearchParams(U.value.params);return c?p.set("show",String(c)):p.delete("show"),C(t,p)},a=(c,p=null,d=!1)=>{e(p),H(s(c),d)},l=i>0&&o`<${$t} id=${i} known=${n?.id===i?n:null}
    onClose=${()=>wt(s(0))} onStep=${c=>a(c.id,c,!0)}
    onSearch=${c=>H(C(["search"],pt({...mt,examples:[c]})))} />`;return{open:a,detail:l}}function De(){let t=U.value.params.get("ids")??"",n=[...new Set(t.split(",").map(Number).filter(i=>Number.isInteger(i)&&i>0))],{open:e,detail:r}=Bt(["images"]);return o`<h1>${L(n.length,"image")}</h1>
    ${n.length?o`<${Kt} key=${t} ids=${n} onOpen=${i=>e(i.id,i)} />`:o`<${O} title="The address names no image"><p><a href="#/search">Go to the search</a></p><//>`}
    ${r}`}var lt=60,Pe=150;function zt({path:t,target:n,tail:e}){let{params:r}=U.value,i=r.get("prefix")??"",s=r.get("type")??"",[a,l]=k(null),[c,p]=k(!1),[d,f]=k(null),[v,m]=k(0),$=u=>{let g=Object.fromEntries(Object.entries({prefix:i,type:s,...u}).filter(([,y])=>y));H(C(t,g),!0)};T(()=>{let u=new AbortController,g=setTimeout(async()=>{try{let y=await M.entities({prefix:i,type:s,limit:lt},u.signal);V(y),l(y),p(y.length===lt),f(null),(i||s)&&F(y.length===lt?`${lt} or more entities.`:L(y.length,"entity","entities"))}catch(y){y.name!=="AbortError"&&f(y)}},a?Pe:0);return()=>{clearTimeout(g),u.abort()}},[i,s,v]);let w=async()=>{try{let u=await M.entities({prefix:i,type:s,limit:lt,offset:a.length});V(u),l([...a,...u]),p(u.length===lt)}catch(u){f(u)}};return o`
    <form class="entity-filters" role="search" onSubmit=${u=>u.preventDefault()}>
      <label class="field"><span>Name begins with</span><input type="text" value=${i} autocomplete="off"
        onInput=${u=>$({prefix:u.currentTarget.value})} /></label>
      <label class="field"><span>Type</span><input type="text" value=${s} autocomplete="off"
        onInput=${u=>$({type:u.currentTarget.value})} /></label>
    </form>
    ${d&&o`<${P} error=${d} retry=${()=>m(v+1)} />`}
    ${!a&&!d&&o`<${N} />`}
    ${a?.length===0&&(i||s?o`<${O} title="No entity is called so">
        <p>Write the beginning of its name, or leave the type open.</p><//>`:o`<${O} title="The index knows no entities">
        <p>Build it of labels, or with a knowledge base: openmofi index build IMAGES --kb KB --entities all.</p><//>`)}
    <ul class="entity-list">${a?.map(u=>o`<li key=${u.id}>
      <a class="entity-card" href=${n(u)}>
        <strong>${u.name}</strong>
        <span class="faint">${bt(u)}</span>
        <span class="figure">${e?e(u):L(u.images,"image")}</span>
      </a></li>`)}</ul>
    ${c&&o`<p class="center"><button class="button" onClick=${w}>Show more</button></p>`}`}function Ne(){return o`<h1>Entities</h1>
    <${zt} path=${["entities"]} target=${t=>C(["entity",t.id])} />`}var Oe=12,We=[["labels","Labels"],["candidates","Below the threshold"],["all","All"]],je=[["sure","Surest first"],["doubt","Most doubtful first"]];function Fe(){let{rest:[t=""],params:n}=U.value,[e,r]=k(null),[i,s]=k(null),[a,l]=k(null),[c,p]=k(0);return T(()=>{let d=!0;return M.entity(t).then(f=>{d&&(V([f]),r(f))},f=>d&&l(f)),M.similar(t).then(f=>d&&s(f),()=>{}),()=>{d=!1}},[t,c]),a?o`<h1 class="unseen">Entity</h1><${P} error=${a} retry=${()=>{l(null),p(c+1)}} />
    <p class="center"><a href="#/entities">All entities</a></p>`:e?o`
    <article class="entity">
      <header class="entity-head">
        <div>
          <h1>${e.name}</h1>
          ${e.description&&o`<p class="lead">${e.description}</p>`}
          <ul class="chips" aria-label="Types">
            ${e.types.filter(X).map(d=>o`<li key=${d}><${Jt} href=${C(["entities"],{type:d})}>${X(d)}<//></li>`)}
            <li><span class="faint">${e.id}</span></li>
          </ul>
          <${Ue} aliases=${e.aliases.filter(d=>d.toLowerCase()!==e.name.toLowerCase())} />
        </div>
        <div class="entity-side">
          <dl class="counts">
            <div><dt>named in</dt><dd>${K(e.named)} <span>${e.named===1?"text":"texts"}</span></dd></div>
            <div><dt>shown in</dt><dd>${K(e.images)} <span>${e.images===1?"image":"images"}</span></dd></div>
          </dl>
          <div class="actions">
            <a class="button main" href=${C(["search"],pt({...mt,entity:t}))}><${A} name="search" />Search for it</a>
            <a class="button" href=${C(["review","grid",t])}><${A} name="check" />Review its labels</a>
          </div>
        </div>
      </header>
      <${_e} entity=${e} params=${n} />
      ${i?.length>0&&o`<section aria-labelledby="look-alikes"><h2 id="look-alikes">It may be mistaken for</h2>
        <ul class="entity-list">${i.map(d=>o`<li key=${d.id}>
          <a class="entity-card" href=${C(["entity",d.id])}><strong>${d.name}</strong>
            <span class="faint">${bt(d)}</span>
            <span class="figure">${L(d.images,"image")}</span></a></li>`)}</ul></section>`}
    </article>`:o`<${N} />`}function Ue({aliases:t}){let[n,e]=k(!1);if(!t.length)return null;let r=n?t:t.slice(0,Oe);return o`<p class="aliases"><span class="faint">also</span> ${r.join(" \xB7 ")}
    ${t.length>r.length&&o` <button class="link" onClick=${()=>e(!0)}>and ${t.length-r.length} more</button>`}</p>`}function _e({entity:t,params:n}){let e=n.get("show")??"labels",r=n.get("order")==="doubt"?"doubt":"sure",i=Number(n.get("image"))||0,[s,a]=k(null),l={labels:!0,candidates:!1}[e],c={labels:t.images,candidates:t.named-t.images}[e]??t.named,p=At(async(m,$,w)=>({items:await M.entityImages(t.id,{order:r,accepted:l,limit:$,offset:m},w),total:c}),`${t.id} ${e} ${r} ${c} ${it.value}`),d=(m,$=!0)=>{let w=new URLSearchParams(n);Object.entries(m).forEach(([u,g])=>g?w.set(u,g):w.delete(u)),H(C(["entity",t.id],w),$)},f=()=>{let m=new URLSearchParams(n);m.delete("image"),wt(C(["entity",t.id],m))},v=(m,$,w,u,g)=>o`<fieldset class="levels"><legend class="unseen">${m}</legend>
    ${w.map(([y,R])=>o`<label key=${y}><input type="radio" name=${$} checked=${y===u}
      onChange=${()=>d({[$]:y===g?"":y})} /><span>${R}</span></label>`)}</fieldset>`;return o`<section aria-labelledby="images">
    <div class="results-head"><h2 id="images">Images</h2>
      ${v("Which images","show",We,e,"labels")}${v("Order","order",je,r,"sure")}</div>
    ${p.error?o`<${P} error=${p.error} retry=${()=>p.retry()} />`:p.total===null?o`<${N} />`:p.total?o`<${Ct} label=${`Images of ${t.name}`} list=${p} entity=${t.id}
            tile=${(m,$,w)=>o`<${Tt} image=${m.image} active=${w} kind=${m.accepted?"":"beyond"}
              about=${`probability ${j(m.probability)}${m.verdict?`, judged ${B[m.verdict]}`:""}`}
              onOpen=${()=>{a(m.image),d({image:String(m.image.id)},!1)}}>
              <div class="tile-row"><${tt} value=${m.probability} />
                ${m.verdict&&o`<span class=${`said ${m.verdict}`}>${B[m.verdict]}</span>`}</div><//>`} />`:o`<${O} title="No image here">
          <p>${e==="labels"?"No image is labelled with it.":"There is none of this kind."}</p><//>`}
    ${i>0&&o`<${$t} id=${i} known=${s?.id===i?s:null}
      onClose=${f} onStep=${m=>{a(m),d({image:String(m.id)})}}
      onSearch=${m=>H(C(["search"],pt({...mt,examples:[m]})))} />`}
  </section>`}var Wt={x:32767.5,y:32767.5,zoom:1},oe=t=>({...t,x:Uint16Array.from(t.x),y:Uint16Array.from(t.y),type:Uint8Array.from(t.type),area:Uint16Array.from(t.area)}),ct=(t,{width:n,height:e})=>t.zoom*Math.max(1,Math.min(n,e)-32)/65535;function et(t,n,e,r){let i=ct(t,n);return[t.x+(e-n.width/2)/i,t.y+(r-n.height/2)/i]}var Ot=(t,n,e)=>Math.min(e,Math.max(n,t)),jt=({x:t,y:n,zoom:e})=>({x:Ot(t,0,65535),y:Ot(n,0,65535),zoom:Ot(e,1,200)});function ft(t,n,e,r=n.width/2,i=n.height/2){let[s,a]=et(t,n,r,i),l=Ot(t.zoom*e,1,200),c=t.zoom/l;return jt({x:s+(t.x-s)*c,y:a+(t.y-a)*c,zoom:l})}function re(t,n,e,r){let i=-1,s=r*r;for(let a=0;a<t.x.length;a+=1){let l=(t.x[a]-n)**2+(t.y[a]-e)**2;l<=s&&([i,s]=[a,l])}return i}function ie(t,n){let e=[],r=n.map(([p])=>p),i=n.map(([,p])=>p),[s,a,l,c]=[Math.min(...r),Math.max(...r),Math.min(...i),Math.max(...i)];for(let p=0;p<t.x.length;p+=1){let d=t.x[p],f=t.y[p];if(d<s||d>a||f<l||f>c)continue;let v=!1;for(let m=0,$=n.length-1;m<n.length;$=m,m+=1)i[m]>f!=i[$]>f&&d<(r[$]-r[m])*(f-i[m])/(i[$]-i[m])+r[m]&&(v=!v);v&&e.push(p)}return e}function se(t,n){let[e,r]=et(t,n,0,0),[i,s]=et(t,n,n.width,n.height);return[[e,r],[i,r],[i,s],[e,s]]}function ae(t){let n=Math.max(1,Math.ceil(t.length/60));return t.filter((e,r)=>r%n===0).map(e=>e.map(Math.round).join(",")).join(";")}function le(t){let n=t.split(";").map(e=>e.split(",").map(Number));return n.length>=3&&n.every(e=>e.length===2&&e.every(Number.isFinite))?n:null}var Ke=.15,Ft=1.4,Be=9,ze=4;function He(t,n){let e=getComputedStyle(t),r=s=>e.getPropertyValue(s).trim(),i=r("--map-rest");return{points:[...Array.from({length:n},(s,a)=>r(`--map-${a+1}`)),i,i],accent:r("--accent"),ink:r("--ink")}}function qe(t,n,e,{chosen:r,lasso:i,bright:s}){let a={width:t.clientWidth,height:t.clientHeight},l=devicePixelRatio||1;t.width=Math.round(a.width*l),t.height=Math.round(a.height*l);let c=t.getContext("2d"),{points:p,accent:d,ink:f}=He(t,n.types.length);c.setTransform(l,0,0,l,0,0);let v=ct(e,a),m=(u,g)=>[(u-e.x)*v+a.width/2,(g-e.y)*v+a.height/2],$=Math.min(6,(n.x.length>2e4?1.2:n.x.length>2e3?1.8:3.2)*Math.sqrt(e.zoom)),w=p.length;for(let u=w-1;u>=0;u-=1){c.fillStyle=p[u];let g=u===w-1?$*.6:$;for(let y=0;y<n.x.length;y+=1){if(n.type[y]!==u)continue;let[R,h]=m(n.x[y],n.y[y]);R<-g||h<-g||R>a.width+g||h>a.height+g||(c.globalAlpha=r&&!r.has(y)||s!==null&&s!==u?.12:1,c.fillRect(R-g,h-g,g*2,g*2))}}c.globalAlpha=1,i?.length&&(c.beginPath(),i.forEach(([u,g],y)=>c[y?"lineTo":"moveTo"](...m(u,g))),c.closePath(),c.strokeStyle=f,c.lineWidth=4,c.stroke(),c.strokeStyle=d,c.lineWidth=2,c.stroke())}function ce({plane:t,chosen:n,lasso:e,bright:r,onLasso:i,onOpen:s}){let a=W(null),[l,c]=k(Wt),[p,d]=k(!1),[f,v]=k(null),[m,$]=k(null),[w,u]=k(0),g=W(null),y=()=>({width:a.current.clientWidth,height:a.current.clientHeight});Gt(()=>{let S=requestAnimationFrame(()=>qe(a.current,t,l,{chosen:n,lasso:f??e,bright:r}));return()=>cancelAnimationFrame(S)},[t,l,n,e,f,r,w]),T(()=>{let S=()=>u(G=>G+1),b=new ResizeObserver(S);b.observe(a.current);let x=matchMedia("(prefers-color-scheme: dark)");x.addEventListener("change",S);let E=G=>{G.preventDefault();let dt=a.current.getBoundingClientRect();c(he=>ft(he,y(),Math.exp(-G.deltaY/400),G.clientX-dt.left,G.clientY-dt.top))};a.current.addEventListener("wheel",E,{passive:!1});let I=a.current;return()=>{b.disconnect(),x.removeEventListener("change",S),I.removeEventListener("wheel",E)}},[]);let R=S=>{let b=a.current.getBoundingClientRect();return[S.clientX-b.left,S.clientY-b.top]},h=(S,b)=>re(t,...et(l,y(),S,b),Be/ct(l,y())),D=S=>{if(S.button)return;S.currentTarget.setPointerCapture(S.pointerId);let[b,x]=R(S);g.current={x:b,y:x,frame:l,path:p||S.shiftKey?[et(l,y(),b,x)]:null},$(null)},_=S=>{let[b,x]=R(S),E=g.current;if(E)if(E.path)E.path.push(et(l,y(),b,x)),v([...E.path]);else{let I=ct(E.frame,y());c(jt({...E.frame,x:E.frame.x-(b-E.x)/I,y:E.frame.y-(x-E.y)/I}))}else{let I=S.pointerType==="mouse"?h(b,x):-1;$(I<0?null:{place:I,x:b,y:x})}},ut=S=>{let b=g.current;if(g.current=null,v(null),!b)return;let[x,E]=R(S),I=Math.hypot(x-b.x,E-b.y)<ze;b.path?.length>2?i(b.path):I&&!b.path&&h(x,E)>=0&&s(t.images[h(x,E)])},ht=()=>{g.current=null,v(null)},Ut=S=>{let b={ArrowLeft:[-1,0],ArrowRight:[1,0],ArrowUp:[0,-1],ArrowDown:[0,1]}[S.key],x=Ke*Math.min(y().width,y().height)/ct(l,y());if(!(S.altKey||S.ctrlKey||S.metaKey)){if(b)c(jt({...l,x:l.x+b[0]*x,y:l.y+b[1]*x}));else if(S.key==="+"||S.key==="=")c(ft(l,y(),Ft));else if(S.key==="-")c(ft(l,y(),1/Ft));else if(S.key==="0"||S.key==="Home")c(Wt);else if(S.key==="Enter")i(se(l,y()));else if(S.key==="Escape"&&g.current)ht();else return;S.preventDefault()}},nt=(S,b,x)=>o`<button class="button" aria-label=${b} title=${b}
    onClick=${()=>{c(S?ft(l,y(),S):Wt),F(b)}}>${x}</button>`;return o`<div class="map-frame">
    <div class="map-tools" role="group" aria-label="Map">
      <button class="button" aria-pressed=${p} onClick=${()=>d(!p)}><${A} name="lasso" />Lasso</button>
      ${nt(Ft,"Zoom in","+")}${nt(1/Ft,"Zoom out","\u2212")}${nt(0,"Show all","All")}
    </div>
    <canvas ref=${a} class=${p?"drawing":""} tabindex="0" role="application" aria-roledescription="map"
      data-zoom=${l.zoom.toFixed(2)} data-centre=${`${Math.round(l.x)},${Math.round(l.y)}`}
      aria-label="Map of the collection. Arrow keys move it, plus and minus zoom, 0 shows all, Enter chooses the images in view. Its areas are listed below."
      onPointerDown=${D} onPointerMove=${_} onPointerUp=${ut} onPointerCancel=${ht}
      onPointerLeave=${()=>$(null)} onKeyDown=${Ut} />
    ${m&&o`<div class="map-near" style=${{left:`${m.x}px`,top:`${m.y}px`}}>
      <${q} key=${m.place} image=${{id:t.images[m.place]}} /></div>`}
  </div>`}function Ge(){let[t,n]=k(null),[e,r]=k(null),[i,s]=k(0);return T(()=>{let l=!0;return M.map().then(c=>l&&n(oe(c)),c=>l&&r(c)),()=>{l=!1}},[i]),o`<h1>Map</h1>${e?o`<${P} error=${e} retry=${()=>{r(null),s(i+1)}} />`:t?t.images.length?o`<${Ye} plane=${t} />`:o`<${O} title="There is no map"><p>${t.note}</p><//>`:o`<${N} />`}`}function Ve(t,n,e){return ot(()=>n?ie(t,n):e===null?null:Array.from(t.area.keys()).filter(r=>t.area[r]===e),[t,n,e])}function Ye({plane:t}){let{params:n}=U.value,[e,r]=k(null),{open:i,detail:s}=Bt(["map"]),a=n.get("lasso")??"",l=ot(()=>le(a),[a]),c=n.has("area")?Number(n.get("area")):null,p=t.areas[c]?c:null,d=Ve(t,l,p),f=ot(()=>d&&new Set(d),[d]),v=ot(()=>d?.map($=>t.images[$]),[d]);T(()=>{d&&F(`${L(d.length,"image")} chosen.`)},[d]);let m=$=>{let w=new URLSearchParams(n);Object.entries($).forEach(([u,g])=>g?w.set(u,g):w.delete(u)),H(C(["map"],w))};return o`
    <p class="lead">${L(t.images.length,"image")}; those that are alike lie near each other.${t.missing>0&&` ${L(t.missing,"image")} came since and are not on it: openmofi index map INDEX makes it anew.`}</p>
    <div class="map">
      <${ce} plane=${t} chosen=${f} lasso=${l} bright=${e}
        onLasso=${$=>m({lasso:ae($),area:""})} onOpen=${i} />
      <div class="map-side">
        <${Ze} plane=${t} bright=${e} onBright=${r} />
        <${Xe} plane=${t} area=${p} />
      </div>
    </div>
    ${v&&o`<${Qe} key=${`${a} ${p}`} ids=${v}
      onOpen=${$=>i($.id,$)} onNone=${()=>m({lasso:"",area:""})} />`}
    ${s}`}function Ze({plane:t,bright:n,onBright:e}){let r=[...t.types.map(({type:s})=>X(s)||s),"other types","no label"],i=ot(()=>{let s=r.map(()=>0);return t.type.forEach(a=>{s[a]+=1}),s},[t]);return o`<section aria-labelledby="legend"><h2 id="legend">Types</h2>
    <ul class="legend">${r.map((s,a)=>i[a]>0&&o`<li key=${s}>
      <button type="button" aria-pressed=${n===a} title=${`Let ${s} stand out`}
        onClick=${()=>e(n===a?null:a)}>
        <span class=${`swatch ${a<t.types.length?`of-${a+1}`:a===t.types.length?"":"small"}`} />
        <span>${s}</span> <span class="figure">${K(i[a])}</span></button></li>`)}</ul></section>`}function Xe({plane:t,area:n}){return o`<section aria-labelledby="areas"><h2 id="areas">Areas</h2>
    <ol class="areas">${t.areas.map(({images:e,entities:r,type:i},s)=>e>0&&o`<li key=${s}>
      <a href=${C(["map"],s===n?{}:{area:String(s)})} aria-current=${s===n?"true":void 0}>
        <span>${r.join(", ")||i||`Area ${s+1}`}</span> <span class="figure">${L(e,"image")}</span></a></li>`)}</ol>
  </section>`}function Qe({ids:t,onOpen:n,onNone:e}){let r=W(null);return T(()=>{r.current.getBoundingClientRect().top>innerHeight-60&&r.current.scrollIntoView({block:"center"})},[]),o`<section aria-labelledby="chosen">
    <div class="results-head"><h2 id="chosen" ref=${r}>${L(t.length,"image")} chosen</h2>
      <button class="button" onClick=${e}>Choose none</button></div>
    ${t.length?o`<${Kt} ids=${t} picked onOpen=${n} />`:o`<${O} title="No image lies here"><p>Draw around some points, or take an area.</p><//>`}
  </section>`}var ue=50,Je=new Intl.DateTimeFormat("en",{dateStyle:"medium",timeStyle:"short"});function de(){let t=J.value,[n,e]=k(null),[r,i]=k(!1),[s,a]=k(null),l=async f=>{a(null);try{await f()}catch(v){a(v)}},c=f=>l(async()=>{let v=await M.history({who:t,limit:ue,offset:f.length});J.value===t&&(e([...f,...v]),i(v.length===ue))});T(()=>{e(null),c([])},[t]);let p=f=>l(async()=>{await st([f.verdict.id]),e(v=>v.filter(m=>m!==f)),F(`${f.entity.name}: taken back.`)}),d=s&&o`<${P} error=${s} retry=${()=>c(n??[])} />`;return n?o`${d}
    ${n.length===0&&o`<${O} title="No verdicts yet"><p>${t?`None is by ${t}.`:"None was given without a name. Write your name to see yours."}</p><//>`}
    <ol class="history" aria-label="Verdicts, latest first">${n.map(f=>o`<${tn} key=${f.verdict.id} row=${f} onUndo=${()=>p(f)} />`)}</ol>
    ${r&&o`<p class="center"><button class="button" onClick=${()=>c(n)}>Show more</button></p>`}`:d||o`<${N} />`}function tn({row:t,onUndo:n}){let{verdict:e,image:r,entity:i,instead:s}=t;return o`<li>
    <span class="small-image">${r&&o`<${q} image=${r} />`}</span>
    <div><p><span class=${`said ${e.verdict}`}>${B[e.verdict]}</span> <a href=${C(["entity",i.id])}>${i.name}</a>${s&&o`, it is <a href=${C(["entity",s.id])}>${s.name}</a>`}</p>
      <p class="faint">${r?o`<a href=${C(["images"],{ids:r.id,show:r.id})}>${Y(r)}</a>`:`${e.shard} \xB7 ${e.key}, no longer in the index`}
        ${" \xB7 "}<time datetime=${e.when}>${Je.format(new Date(e.when))}</time></p></div>
    <button class="button small" aria-label=${`Take back: ${i.name} is ${B[e.verdict]}`} onClick=${n}><${A} name="undo" />Undo</button></li>`}var en=150,Ht=8,nn=300;function on(){let t=(document.querySelector("main")?.clientWidth??innerWidth)-(innerWidth>760?48:32),n=Math.max(2,Math.floor((t+Ht)/(en+Ht)));return Math.min(60,n*Math.max(3,Math.floor((innerHeight-nn)/(t/n))))}function me({entity:t,name:n}){let[e,r]=k(null),[i,s]=k({}),[a,l]=k(new Set),[c,p]=k([]),[d,f]=k(null),[v,m]=k(!1),[$,w]=k(0),u=W(null),g=W(null),y=async()=>{f(null);try{r(await M.review({entity:t,order:"doubt",accepted:!0,who:J.value,limit:on()})),s({}),w(0)}catch(b){f(b)}};T(()=>{y()},[]);let R=async()=>{if(!(v||!e?.length)){if([...u.current.querySelectorAll("img")].some(b=>!b.complete)){F("Not all images are here yet.");return}m(!0),f(null);try{let b=await xt(e.map(({image:E})=>({image:E,entity:t,value:D(E)}))),x=e.filter(({image:E})=>i[E.id]==="n").length;F(`${L(e.length,"label")} judged, ${x} of them wrong.`),p([...c,{ids:b,page:e,values:i}]),await y(),u.current?.querySelector("button")?.focus()}catch(b){f(b)}finally{m(!1)}}},h=async()=>{let b=c.at(-1);if(!(v||!b)){m(!0);try{await st(b.ids),p(c.slice(0,-1)),r(b.page),s(b.values),F("The last page was taken back.")}catch(x){f(x)}finally{m(!1)}}},D=b=>i[b.id]??(a.has(b.id)?"u":"y"),_=(b,x)=>{let E=e[b]?.image.id;E!==void 0&&s(I=>({...I,[E]:x}))},ut=(b,x)=>{let{id:E}=e[b].image;s(I=>({...I,[E]:D({id:E})===x?"y":x}))};Q(b=>{if(b.key==="z")return h(),!0;if(!e?.length)return!1;let x=Math.max(1,Math.round(u.current.clientWidth/(u.current.firstElementChild.offsetWidth+Ht))),E={ArrowLeft:-1,ArrowRight:1,ArrowUp:-x,ArrowDown:x}[b.key],I=u.current.contains(document.activeElement),G=I||document.activeElement===document.body||document.activeElement?.id==="main";if(b.key==="Enter"&&G)!b.repeat&&R();else if(b.key==="n"||b.key==="x"||b.key===" "&&I)ut($,"n");else if(b.key==="u")ut($,"u");else if(b.key==="y")_($,"y");else if(E&&G){let dt=Math.max(0,Math.min(e.length-1,$+E));w(dt),u.current.querySelectorAll("button")[dt].focus()}else return!1;return!0});let ht=(b,x)=>{if(b.pointerType==="touch"||b.button)return;let E=D(e[x].image)==="n"?"y":"n";g.current=E,_(x,E);let I=()=>{setTimeout(()=>{g.current=null}),removeEventListener("pointerup",I)};addEventListener("pointerup",I)},Ut=b=>{if(!g.current||!b.buttons)return;let x=document.elementFromPoint(b.clientX,b.clientY)?.closest("[data-place]")?.dataset.place;x!==void 0&&_(Number(x),g.current)},nt=e?.filter(({image:b})=>D(b)!=="y").length??0,S=d&&o`<${P} error=${d} retry=${e?void 0:y} />`;return e?o`
    ${S}
    ${e.length===0?o`<${O} title="All of its labels are judged">
        <p><a href=${C(["entity",t])}>See the entity</a> or <a href="#/review">choose another</a>.</p><//>`:o`<p class="keys"><kbd>←</kbd><kbd>→</kbd><kbd>↑</kbd><kbd>↓</kbd> move <kbd>n</kbd> or <kbd>Space</kbd> wrong
          <kbd>u</kbd> unsure <kbd>Enter</kbd> take the page <kbd>z</kbd> undo; or click and drag over what is wrong</p>
        <div class="judge-grid" ref=${u} role="group" aria-label=${`Labels of ${n}, the most doubtful first`} onPointerMove=${Ut}>
          ${e.map(({image:b},x)=>{let E=D(b);return o`<button key=${b.id} type="button" class=${`judge ${E}`} data-place=${x}
                tabindex=${x===$?0:-1} aria-label=${`${Y(b)}: ${B[E]}`}
                onFocus=${()=>w(x)} onPointerDown=${I=>ht(I,x)}
                onKeyDown=${I=>{I.key==="Enter"&&I.preventDefault()}}
                onClick=${I=>{I.detail&&!g.current&&ut(x,"n")}}>
              <${q} key=${b.id} image=${b} onGone=${()=>l(I=>new Set(I).add(b.id))} />
              <span class="mark"><${A} name=${{y:"check",n:"close",u:"question"}[E]} /></span>
            </button>`})}
        </div>`}
    <div class="judge-bar">
      <button class="button main" disabled=${v||!e.length} onClick=${R}>
        <${A} name="check" />Take the page: ${e.length-nt} right, ${nt} not</button>
      <button class="button" disabled=${v||!c.length} onClick=${h}><${A} name="undo" /><span class="undo">Undo</span></button>
      <p class="faint">${c.length>0&&`${L(c.reduce((b,x)=>b+x.page.length,0),"label")} judged`}</p>
    </div>`:S||o`<${N} />`}function pe({entity:t}){let[n,e]=k(null);if(T(()=>{let c=!0;return M.precision(t).then(p=>c&&e(p),()=>{}),()=>{c=!1}},[it.value,t]),!n?.judged)return null;let{precision:r,lower:i,upper:s,judged:a,labels:l}=n;return o`<p class="precision" role="note">
    <span class="interval" aria-hidden="true"><span class="range" style=${{left:`${i*100}%`,width:`${(s-i)*100}%`}} />
      <span class="point" style=${{left:`${r*100}%`}} /></span>
    <span>Precision of the labels <strong>${j(r)}</strong>${`, between ${j(i)} and ${j(s)} (95 % interval), by ${L(a,"verdict")} on ${L(l,"label")}`}</span></p>`}var rn=20,sn=9,$e={y:"yes",n:"no",u:"unsure"},qt=({image:t,entity:n})=>`${t.id} ${n.id}`;function fe({entity:t}){let[n,e]=k(null),[r,i]=k([]),[s,a]=k(null),{current:l}=W(new Set),c=W(!1),p=async()=>{a(null);try{let g=await M.review({entity:t,order:"active",accepted:!0,who:J.value,limit:rn+l.size});e(g.filter(y=>!l.has(qt(y))))}catch(g){a(g)}};T(()=>{p()},[]);let d=n?.[0],f=()=>(l.add(qt(d)),v()),v=async()=>n.length>1?e(n.slice(1)):p(),m=async(g,y="",R="")=>{if(!(c.current||!d)){c.current=!0,a(null);try{let h=await xt([{image:d.image,entity:d.entity.id,value:g,instead:y}]);i([...r,{ids:h,item:d,value:g,name:R}]),F(`${R?`It is ${R}`:`You said ${$e[g]}`}.`),await v()}catch(h){a(h)}finally{c.current=!1}}},$=async()=>{let g=r.at(-1);if(!(c.current||!g)){c.current=!0;try{await st(g.ids),i(r.slice(0,-1)),e([g.item,...n??[]]),F("The last verdict was taken back.")}catch(y){a(y)}finally{c.current=!1}}};Q(g=>g.key!=="z"||g.repeat?!1:($(),!0));let w=r.at(-1),u=s&&o`<${P} error=${s} retry=${n?void 0:p} />`;return o`${u}
    ${!n&&!s&&o`<${N} />`}
    ${n&&(d?o`<${an} key=${qt(d)} item=${d} onDecide=${m} onSkip=${f} />`:o`<${O} title="Everything is judged"><p>${t?"None of its labels is left.":"No label is left."}
          ${" "}<a href="#/review">Choose an entity</a></p><//>`)}
    <div class="judge-bar">
      <button class="button" disabled=${!w} onClick=${$}><${A} name="undo" /><span class="undo">Undo</span></button>
      <p class="faint" data-last>${w&&o`${w.item.entity.name}: you said ${$e[w.value]}${w.name&&`, it is ${w.name}`};
        the labels gave it ${j(w.item.probability)}. ${L(r.length,"label")} judged.`}</p>
    </div>`}function an({item:t,onDecide:n,onSkip:e}){let{image:r,entity:i}=t,[s,a]=k(null),[l,c]=k(null),[p,d]=k(!1);T(()=>{let h=!0;return M.reading(r.id).then(D=>h&&c(D),()=>{}),M.recogniseImage(r.id).then(D=>h&&a(D.entities),()=>h&&a([])),()=>{h=!1}},[]);let f=s?.find(h=>h.entity.id===i.id)?.evidence??[],v=l?.candidates??[],m=new Set(v.filter(h=>h.entity===i.id).map(h=>h.mention)),$=[...new Set([...m].map(h=>l.mentions[h]?.kind).filter(Boolean))],w=new Map(v.map(h=>[h.entity,h.description])),u=new Map(v.filter(h=>m.has(h.mention)).map(h=>[h.entity,h.name]));r.labels.forEach(h=>u.set(h.entity,h.name)),s?.filter(h=>(h.probability??1)>=It).forEach(h=>{u.set(h.entity.id,h.entity.name),w.set(h.entity.id,h.entity.description)}),u.delete(i.id);let g=[i.name,...u.values()],y=l?.text===r.text&&m.size?kt(r.text,l.mentions.map(({start:h,end:D},_)=>({start:h,end:D,kind:m.has(_)?"meant":"other"}))):yt(r.text,[i.name,...i.aliases]),R=[...u].slice(0,sn);return Q(h=>{if(h.repeat)return!1;let D=R[Number(h.key)-1];if(["y","n","u"].includes(h.key))n(h.key);else if(h.key==="s")e();else if(h.key==="i")d(!0);else if(D)n("n",...D);else return!1;return!0}),o`<div class="single">
    <div class="stage"><button class="plain" aria-label="Look closely" onClick=${()=>Mt(r)}>
      <${at} src=${z(r.id)} alt=${r.text?"":r.key} width=${r.width} height=${r.height} /></button></div>
    <div class="about">
      <h2 class="question">Does it show <a href=${C(["entity",i.id])}>${i.name}</a>?</h2>
      ${i.description&&o`<p class="lead">${i.description}</p>`}
      ${r.text&&o`<blockquote class="caption">${y.map(h=>h.mark?o`<mark class=${h.mark}>${h.text}</mark>`:h.text)}</blockquote>`}
      ${$.length>0&&o`<p class="faint named-in">Named in ${$.join(", ")}</p>`}
      <div class="verdicts" role="group" aria-label="Verdict">
        <button class="button yes" onClick=${()=>n("y")}><${A} name="check" />Yes <kbd>y</kbd></button>
        <button class="button no" onClick=${()=>n("n")}><${A} name="close" />No <kbd>n</kbd></button>
        <button class="button" onClick=${()=>n("u")}><${A} name="question" />Unsure <kbd>u</kbd></button>
        <button class="button" onClick=${e}>Skip <kbd>s</kbd></button>
      </div>
      <section aria-label="It is this instead"><h3>It is this instead</h3>
        <ul class="chips">${R.map(([h,D],_)=>o`<li key=${h}><span class="chip">
          <button type="button" class="chip-text" title=${w.get(h)} onClick=${()=>n("n",h,D)}><kbd>${_+1}</kbd> ${D}${g.indexOf(D)!==g.lastIndexOf(D)&&w.get(h)&&o` <span class="homonym">${w.get(h)}</span>`}</button></span></li>`)}
          ${!p&&o`<li key="another"><span class="chip"><button type="button" class="chip-text" onClick=${()=>d(!0)}>
            <kbd>i</kbd> Another</button></span></li>`}</ul>
        ${p&&o`<div class="instead"><${St} label="It is instead" placeholder="name of an entity" focused
          onEntity=${h=>n("n",h.id,h.name)} /></div>`}</section>
      ${f.length>0&&o`<section aria-label="Evidence"><h3>Near it, and labelled ${i.name}</h3>
        <div class="evidence">${f.map(([h,D])=>o`<span key=${h.id} class="small-image" title=${`similarity ${D.toFixed(2)}`}>
          <${q} image=${h} /></span>`)}</div></section>`}
    </div>
  </div>`}function ln(){let{rest:[t="",n=""]}=U.value;T(()=>gt(n),[n]);let e=rt.value[n]??n;if(Yt.value.has(n))return o`<h1 class="unseen">Review</h1><${O} title=${`The index has no entity ${n}`}>
    <p><a href="#/review">Choose another</a></p><//>`;if(t&&!["grid","single","history"].includes(t))return o`<h1 class="unseen">Review</h1><${O} title="There is no such view">
    <p><a href="#/review">Go to the review</a></p><//>`;let r=t==="grid"&&n;return o`
    <header class="review-head">
      <div>
        <h1>${r?e:t==="single"?n?e:"Single labels":t==="history"?"My verdicts":"Review"}</h1>
        ${t!=="single"&&o`<p class="lead">${r?"Everything here is taken as right. Mark what does not show it.":t==="history"?"What you said, latest first. Each can be taken back.":"Choose an entity to judge its labels by the page, or judge single labels, the most telling first."}</p>`}
      </div>
      <div class="review-tools">
        <${Zt} />
        ${t&&o`<nav aria-label="Ways to review" class="actions">
          ${r?o`<a class="button" href=${C(["review","single",n])}>One by one</a>`:n&&o`<a class="button" href=${C(["review","grid",n])}>As a grid</a>`}
          <a class="button" href="#/review">Other entities</a></nav>`}
      </div>
    </header>
    <${pe} entity=${n} />
    ${r?o`<${me} key=${n} entity=${n} name=${e} />`:t==="history"?o`<${de} />`:t==="single"?o`<${fe} key=${n} entity=${n} />`:o`<p class="actions"><a class="button main" href="#/review/single">Judge single labels</a>
            <a class="button" href="#/review/history">My verdicts</a>
            <a class="button" href="api/verdicts.parquet" download>Verdicts as Parquet</a></p>
          <h2>Entities</h2>
          <${zt} path=${["review"]} target=${i=>C(["review","grid",i.id])}
            tail=${i=>L(i.images,"label")} />`}`}export{$t as Detail,Ne as Entities,Fe as Entity,Ce as ExampleDialog,De as Images,Ge as MapView,Re as Rail,ln as Review};
