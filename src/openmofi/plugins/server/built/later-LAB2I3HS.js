import{$ as It,A as At,B as rt,C as Tt,D as Ct,E as z,G as D,H as et,I as Rt,J as P,K as q,M as U,N as K,O as W,P as Ot,Q as ct,R as ut,S as xe,T as ht,U as Nt,V as bt,W as Lt,X,Y as Ee,Z as Dt,_ as se,aa as dt,b as k,ba as Q,c as M,ca as Pt,d as ye,da as kt,e as j,ea as Se,f as Mt,fa as mt,ga as _t,h as i,ha as Me,i as we,ja as Ft,ka as Ae,l as L,m as ke,n as tt,q as at,r as ve,u as ot,v as $t,w as Z,x as _,y as G,z as lt}from"./chunk-3ZDTJGE2.js";async function jt(t){let{default:e}=await import("./photoswipe.esm-5BWHUGVW.js"),{width:n,height:o}=t.width?t:{width:1600,height:1200};new e({dataSource:[{src:tt(t.id),msrc:ke(t),width:n,height:o,alt:rt(t)}],appendToEl:document.querySelector("dialog[open]")??document.body,showHideAnimationType:"none",bgOpacity:.94,zoom:!0,arrowKeys:!1,maxZoomLevel:8,closeTitle:"Close",zoomTitle:"Zoom",errorMsg:"The image cannot be loaded."}).init()}var tn=3,en={below_threshold:"below the threshold",sibling_preferred:"a similar entity is likelier",beyond_top_k:"other labels of this image are likelier"};function nn(t,e,n){let o=new Map(t.labels.map(s=>[s.entity,{...s,candidate:null}]));for(let s of e?.candidates??[]){let a=o.get(s.entity)??{...s,candidate:null};o.set(s.entity,{...a,candidate:a.candidate??s})}for(let[s,a]of n)o.has(s)||o.set(s,{entity:s,name:at.value[s]??s,probability:null,by:a.who});let r=s=>s.accepted||s.probability===null?1:0;return[...o.values()].sort((s,a)=>r(a)-r(s)||(a.probability??0)-(s.probability??0))}function on(t,e){let{prior:n,link_score:o,image_score:r,reason:s}=t,a=e.mentions[t.mention],l=[n!==null&&`means this in ${G(n)} of its uses`,o!==null&&o>=0&&o<=1&&`${G(o)} with the rest of the text`].filter(Boolean).join(", "),d=e.candidates.filter(p=>p.image_score!==null),u=d.filter(p=>p.mention===t.mention),c=u.length>1?u:d,m=c.reduce((p,$)=>$.image_score>p.image_score?$:p,t),y=r!==null&&c.length>1&&(m.entity===t.entity?`of ${_(c.length,"candidate")} the image is closest to this one`:`the image is closer to ${m.name}`);return[a&&`\u201C${a.surface}\u201D${a.kind?` (${a.kind})`:""} ${l}`.trim(),y,en[s]].filter(Boolean).join("; ")}function Te({image:t,reading:e,verdicts:n}){let[o,r]=k(!1),[s,a]=k(!1),l=nn(t,e,n.said),d=l.filter((c,m)=>o||m<tn||c.accepted||n.said.has(c.entity));M(()=>{n.said.forEach((c,m)=>{l.some(y=>y.entity===m&&y.candidate)||$t(m)})},[n.said]);let u=c=>{a(!1),ot([c]),n.give(c,"y",!1)};return i`<section aria-label="Labels"><h3>Labels</h3>
    ${n.error&&i`<${U} error=${n.error} />`}
    <ul class="label-list">${d.map(c=>i`<li key=${c.entity} class=${c.accepted||c.probability===null?"":"candidate"}>
      <div class="recognised"><a href=${D(["entity",c.entity])} title=${c.description}>${c.name}</a>
        ${c.probability===null?i`<span class="faint">${c.by?`said by ${c.by}`:"said by a person"}</span>`:i`<${dt} value=${c.probability} />`}
        <${Dt} entity=${{id:c.entity,name:c.name}} verdicts=${n} /></div>
      ${c.candidate&&i`<p class="faint">${on(c.candidate,e)}</p>`}</li>`)}</ul>
    ${!l.length&&i`<p class="faint">It has none.</p>`}
    <p class="actions">
      ${l.length>d.length&&i`<button class="link" onClick=${()=>r(!0)}>and ${_(l.length-d.length,"candidate")} more</button>`}
      ${!s&&i`<button class="button small" onClick=${()=>a(!0)}><${P} name="plus" />Add a label</button>`}</p>
    ${s&&i`<${Lt} label="It also shows" placeholder="name of an entity" focused onEntity=${u} />`}
  </section>`}function gt({src:t,alt:e,width:n=0,height:o=0,children:r}){let[s,a]=k(o?n/o:0),[l,d]=k(!1);return l?i`<p class="faint">The image cannot be shown. It may have been moved, or is of a kind that browsers do not show.</p>`:i`<div class="large" style=${s?{"--ratio":String(s)}:{}}>
    <img src=${t} alt=${e} draggable=${!1} onError=${()=>d(!0)}
      onLoad=${u=>a(u.currentTarget.naturalWidth/u.currentTarget.naturalHeight)} />
    ${r}
  </div>`}var Ut=.01;function Bt({image:t,upload:e,region:n,verdicts:o}){let[r,s]=k(null),[a,l]=k(null),[d,u]=k(0),[c,m]=k(!1);if(M(()=>{let $=!0;return s(null),l(null),(t===void 0?L.recogniseUpload(e,n):L.recogniseImage(t,n)).then(h=>$&&s(h),h=>$&&l(h)),()=>{$=!1}},[t,e,n?.join(),d]),a)return i`<${U} error=${a} retry=${()=>u(d+1)} />`;if(!r)return i`<${W} what="Recognising" />`;let y=r.entities.filter(({probability:$},h)=>c||!h||($??1)>=Ut),p=r.entities.length-y.length;return i`<section class="recognition" aria-label="What it may show">
    ${r.note&&i`<p class="note">${r.note}</p>`}
    ${r.uncalibrated&&i`<p class="faint why">${r.uncalibrated}</p>`}
    <ol>${y.map($=>i`<li key=${$.entity.id}>
      <div class="recognised">
        <a href=${D(["entity",$.entity.id])}>${$.entity.name}</a>
        <${dt} value=${$.probability} />
        ${o&&i`<${Dt} entity=${$.entity} verdicts=${o} />`}
      </div>
      ${$.entity.description&&i`<p class="faint">${$.entity.description}</p>`}
      ${$.evidence.length>0&&i`<div class="evidence" role="group" aria-label=${`Labelled ${$.entity.name}, and near`}>
        ${$.evidence.map(([h])=>i`<span key=${h.id} class="small-image">
          <${Q} image=${h} /></span>`)}</div>`}
      ${$.siblings.length>0&&i`<p class="faint">or ${$.siblings.map((h,f)=>i`${f?", ":""}
        <a href=${D(["entity",h.id])} title=${h.description}>${h.name}</a>`)}</p>`}
    </li>`)}</ol>
    ${p>0&&i`<p><button class="link" onClick=${()=>m(!0)}>and ${p} below ${G(Ut)}</button></p>`}
    ${r.unnamed!==null&&i`<div class="recognised none">
      <span>none of what the labels name</span>
      <${dt} value=${r.unnamed} />
    </div>`}
  </section>`}var Wt=.02,Kt=.04,st=(t,e,n)=>Math.min(n,Math.max(e,t)),Ce=t=>st(Number(t.toFixed(4)),0,1),Re=([t,e,n,o])=>`from ${G(t)} to ${G(n)} across, ${G(e)} to ${G(o)} down`;function Gt({region:t,onRegion:e,onDone:n}){let o=j(null),r=j(null),[s,a,l,d]=t??[.25,.25,.75,.75],u=p=>{let $=o.current.getBoundingClientRect();return[st((p.clientX-$.left)/$.width,0,1),st((p.clientY-$.top)/$.height,0,1)]},c=p=>{if(!r.current)return;let[$,h]=u(p),[f,g]=r.current,w=[Math.min($,f),Math.min(h,g),Math.max($,f),Math.max(h,g)];w[2]-w[0]>=Kt&&w[3]-w[1]>=Kt&&e(w.map(Ce))},m=p=>{let[$,h]={ArrowLeft:[-Wt,0],ArrowRight:[Wt,0],ArrowUp:[0,-Wt],ArrowDown:[0,Wt]}[p.key]??[];if(p.key==="Enter"&&(p.preventDefault(),n([s,a,l,d])),$===void 0)return;p.preventDefault();let f=p.shiftKey?[s,a,st(l+$,s+Kt,1),st(d+h,a+Kt,1)]:[s+st($,-s,1-l),a+st(h,-a,1-d),l+st($,-s,1-l),d+st(h,-a,1-d)];e(f.map(Ce)),q(Re(f))},y=()=>{r.current=null};return i`<div class="region-frame" ref=${o}
      onPointerDown=${p=>{p.preventDefault(),p.currentTarget.setPointerCapture(p.pointerId),r.current=u(p)}}
      onPointerMove=${c} onPointerUp=${y} onPointerCancel=${y}>
    <div class="region" role="application" tabindex="0" aria-roledescription="region"
      aria-label=${`Region ${Re([s,a,l,d])}. Arrow keys move it, Shift and arrow keys change its size, Enter searches.`}
      onKeyDown=${m}
      style=${{left:`${s*100}%`,top:`${a*100}%`,width:`${(l-s)*100}%`,height:`${(d-a)*100}%`}} />
  </div>`}var qt=t=>t?.image??t;function rn(t,e){for(let n=0;n<t.total;n+=1)if(qt(t.at(n))?.id===e)return n;return-1}function sn(t,e){let n=se.value?.list,o=j({id:0,place:-1}),[r,s]=k(-1);n&&(o.current.id!==t||o.current.place<0)&&(o.current={id:t,place:rn(n,t)});let{place:a}=o.current,l=n&&a>=0?[a-1,a+1].filter(m=>m>=0&&m<n.total):[],d=l.map(m=>qt(n.at(m))?.id).join();M(()=>{l.some(m=>!n.at(m))&&n.look(Math.max(0,a-1),a+2);for(let m of l)n.at(m)&&(new Image().src=tt(qt(n.at(m)).id))},[a,d]);let u=r>=0&&qt(n?.at(r));return M(()=>{u&&(o.current={id:u.id,place:r},s(-1),e(u))},[u]),{step:m=>{l.includes(a+m)&&s(a+m)},place:a,total:n?.total??0,can:m=>l.includes(a+m)}}function vt({id:t,known:e,onClose:n,onSearch:o,onStep:r}){let[s,a]=k({id:0}),[l,d]=k(!1),{step:u,place:c,total:m,can:y}=sn(t,r),p=j(c),$=j(-1),h=e??(s.id===t?s.image:null),f=s.id===t?s.error:null;M(()=>{e||L.image(t).then(b=>a({id:t,image:b}),b=>a({id:t,error:b}))},[t]),ct(b=>{if(document.querySelector(".pswp"))return!1;if(b.key==="?")d(!l);else if(b.key==="ArrowLeft"||b.key==="ArrowRight")u(b.key==="ArrowLeft"?-1:1);else return!1;return!0},{inDialog:!0});let g=()=>{$.current=c>=0&&c!==p.current?c:-1,n()};M(()=>()=>{$.current>=0&&setTimeout(()=>se.value?.move($.current))},[]);let w=(b,S,N)=>i`<button class="round" aria-label=${S} title=${S} disabled=${!y(b)}
    onClick=${()=>u(b)}><${P} name=${N} /></button>`,A=i`<div class="steps">
    ${c>=0&&i`${w(-1,"Previous image","left")}
      <span class="figure" role="status">${Z(c+1)} of ${Z(m)}</span>${w(1,"Next image","right")}`}
    <button class="round wide-only" aria-label="Keys" title="Keys" aria-expanded=${l} onClick=${()=>d(!l)}><${P} name="keys" /></button></div>`;return i`<${Ot} title=${h?rt(h):"Image"} kind="wide" tools=${A} onClose=${g}>
    ${l&&i`<p class="keys"><kbd>←</kbd> previous <kbd>→</kbd> next <kbd>Tab</kbd> to labels and buttons
      <kbd>?</kbd> keys <kbd>Esc</kbd> close</p>`}
    ${f?i`<${U} error=${f} />`:h?i`<${an} key=${t} image=${h} onSearch=${o} />`:i`<${W} />`}
  <//>`}function an({image:t,onSearch:e}){let{id:n}=t,[o,r]=k(!1),[s,a]=k(null),[l,d]=k(!1),[u,c]=k(null),m=Ee(t);M(()=>{let $=!0;return L.reading(n).then(h=>$&&c(h),()=>{}),()=>{$=!1}},[]);let y=o?s??[.25,.25,.75,.75]:null,p=()=>e({image:n,weight:1,region:y});return i`<div class="detail">
    <div class="stage">
      <${gt} src=${tt(n)} alt=${rt(t)} width=${t.width} height=${t.height}>
        ${o&&i`<${Gt} region=${s} onRegion=${a} onDone=${p} />`}<//>
    </div>
    <div class="about">
      <div class="actions">
        <button class="button main" onClick=${p}><${P} name="search" />
          ${o?"Search with the region":"Search like this"}</button>
        <button class="button" onClick=${()=>r(!o)}>
          <${P} name="crop" />${o?"Whole image":"Select a region"}</button>
        <button class="button" onClick=${()=>jt(t)}><${P} name="closer" />Look closely</button>
        <button class="button" aria-pressed=${l} onClick=${()=>d(!l)}>
          <${P} name="tag" />Recognise</button>
        <a class="button" href=${tt(n)} download><${P} name="download" />Download</a>
      </div>
      ${o&&i`<p class="faint">Drag over the image, or move the frame with the arrow keys and change its size
        with Shift and the arrow keys.</p>`}
      ${l&&i`<${Bt} image=${n} region=${y} verdicts=${m} />`}
      <${Te} image=${t} reading=${u} verdicts=${m} />
      ${t.text.trim()&&i`<${ln} image=${t} reading=${u} />`}
      <${cn} image=${t} />
    </div>
  </div>`}function ln({image:t,reading:e}){let n=new Set(e?.candidates.filter(({accepted:l})=>l).map(({mention:l})=>l)),o=e?.text===t.text?e.mentions:[],r=o.length?Ct(t.text,o.map(({start:l,end:d},u)=>({start:l,end:d,kind:String(u)}))):Tt(t.text,t.labels.filter(({accepted:l})=>l).map(({name:l})=>l)),s=({text:l,mark:d})=>{let{kind:u="",detector:c="",reason:m=""}=o[d]??{};return d?i`<mark class=${!o.length||n.has(Number(d))?"meant":"other"}
      title=${[u,c,m].filter(Boolean).join(" \xB7 ")}>${l}</mark>`:l},a=[...new Set(o.map(({kind:l})=>l).filter(Boolean))];return i`<section aria-label="Text"><h3>Text</h3>
    <blockquote class="caption" tabindex="0">${r.map(s)}</blockquote>
    ${a.length>0&&i`<p class="faint named-in">Names in ${a.join(", ")}</p>`}</section>`}function cn({image:t}){let e=Object.entries(t.columns).filter(([,n])=>n!==null&&n!=="");return i`<dl class="facts">
    ${t.width>0&&i`<dt>Size</dt><dd>${t.width} × ${t.height}</dd>`}
    <dt>File</dt><dd>${t.path||`${t.shard} \xB7 ${t.key}`}</dd>
    ${/^https?:\/\//.test(t.url)&&i`<dt>From</dt><dd><a href=${t.url} rel="noreferrer noopener" target="_blank">${t.url}</a></dd>`}
    ${e.map(([n,o])=>i`<dt>${n}</dt><dd>${String(o)}</dd>`)}
  </dl>`}function un({example:t,src:e,name:n,onClose:o,onRegion:r}){let[s,a]=k(t.region),[l,d]=k(!1),u=t.upload?e:tt(t.image);return i`<${Ot} title=${`Part of ${n}`} kind="wide" onClose=${o}>
    <div class="detail">
      <div class="stage">${u?i`<${gt} src=${u} alt=${n}>
          <${Gt} region=${s} onRegion=${a} onDone=${r} /><//>`:i`<p class="faint">This image was sent before the page was loaded; it is not kept here.</p>`}</div>
      <div class="about">
        <p class="faint">Drag over the image, or move the frame with the arrow keys and change its size with Shift and the
          arrow keys.</p>
        <div class="actions">
          <button class="button main" disabled=${!s} onClick=${()=>r(s)}>
            <${P} name="crop" />Search with the region</button>
          <button class="button" disabled=${!t.region} onClick=${()=>r(null)}>Whole image</button>
          <button class="button" aria-pressed=${l} onClick=${()=>d(!l)}>
            <${P} name="tag" />Recognise</button>
        </div>
        ${l&&i`<${Bt} image=${t.image} upload=${t.upload} region=${s} />`}
      </div>
    </div>
  <//>`}var dn=6,mn=new Set(["date","licence","license"]),pn=new Intl.DateTimeFormat("en",{month:"long",year:"numeric",timeZone:"UTC"}),fn={type:({value:t,name:e})=>e===t?lt(t):e,verdict:({value:t})=>X[t],folder:({value:t})=>t.split("/").pop(),date:({value:t})=>t.length>4?pn.format(new Date(`${t}-01`)):t};function $n(t){let[e,n]=t.split("-").map(Number);return[new Date(Date.UTC(e,n?n-1:0)),new Date(Date.UTC(e,n||12,0))].map(o=>o.toISOString().slice(0,10))}function hn({query:t,columns:e,onFilters:n}){let[o,r]=k(null),[s,a]=k(null),{filters:l}=t,d={..._t(t),order:""};M(()=>{let f=new AbortController;return a(null),L.facets(d,f.signal).then(g=>{ot((g.values.entity??[]).map(({value:w,name:A})=>({id:w,name:A}))),r(g)},g=>{g.name!=="AbortError"&&a(g)}),()=>f.abort()},[JSON.stringify(d),ht.value]);let u=f=>n({...l,...f}),c=(f,g,w={})=>i`<label class="field"><span>${g}</span>
    <input type="text" value=${l[f]??""} ...${w}
      onChange=${A=>u({[f]:A.currentTarget.value.trim()})} /></label>`,m=f=>(o?.values[f]??[]).map(g=>({...g,name:(fn[f]??(()=>g.name))(g)})).filter(g=>g.name),y=(f,g=w=>({[f]:w}))=>i`<ul class="facet-values">
    ${m(f).map(({value:w,name:A,images:b})=>i`<li key=${w}>
      <button type="button" class="facet-value" title=${w} onClick=${()=>u(g(w))}><span>${A}</span>
        <span class="figure">${Z(b)}<span class="unseen"> images</span></span></button></li>`)}</ul>`,p=(f,g,w)=>(l[f]||m(f).length>0)&&i`<section><h2>${g}</h2>
    ${l[f]?i`<button type="button" class="facet-value" aria-pressed="true" onClick=${()=>u({[f]:""})}>
        <span>${w}</span><${P} name="close" /></button>`:y(f)}</section>`,$=Number(l.min_probability??0),h=new Map(m("min_probability").map(({value:f,images:g})=>[Number(f),g]));return i`<div id="filters" class="rail" role="group" aria-label="Filters">
    ${s&&i`<${U} error=${s} />`}
    ${o?i`<p class="faint">${o.ranked?"The best ":""}${_(o.images,"image")}, near-duplicates counted too</p>`:!s&&i`<${W} what="Counting" />`}
    ${p("type","Type",lt(l.type??"")||l.type)}
    ${p("entity","Entity",at.value[l.entity]??l.entity)}
    <section><label class="field"><span>Label probability at least</span>
      <select value=${String($)} onChange=${f=>u({min_probability:f.currentTarget.value})}>
        ${[0,.5,.8,.9,.95].map(f=>i`<option value=${String(f)} selected=${f===$}>
          ${f?`${Math.round(f*100)} %`:"any"}${h.has(f)?` \xB7 ${Z(h.get(f))}`:""}</option>`)}
      </select></label></section>
    ${p("verdict","People said of a label",X[l.verdict])}
    <section>${c("folder","Folder",{placeholder:"/photos/2024"})}${y("folder")}</section>
    ${e.includes("date")&&i`<section>${c("since","From day",{type:"date"})}${c("until","To day",{type:"date"})}
      ${y("date",f=>{let[g,w]=$n(f);return{since:g,until:w}})}</section>`}
    ${e.some(f=>f==="licence"||f==="license")&&i`<section>
      ${c("licence","Licence",{placeholder:"cc-by*"})}${y("licence")}</section>`}
    ${e.filter(f=>!mn.has(f)).slice(0,dn).map(f=>i`<section key=${f}>
      ${c(`column.${f}`,f)}${y(`column.${f}`)}</section>`)}
  </div>`}function ie({ids:t,picked:e=!1,onOpen:n}){let o=Ft(async(r,s,a)=>{let l=t.slice(r,r+s),d=new Map(l.length?(await L.images(l,a)).map(u=>[u.id,u]):[]);return{items:l.map(u=>d.get(u)??{id:u,key:"no longer in the index",text:"",labels:[]}),total:t.length}},"");return o.error?i`<${U} error=${o.error} retry=${()=>o.retry()} />`:o.total===null?i`<${W} />`:i`<${It} label="Chosen images" list=${o} picked=${e?t:[]}
    tile=${(r,s,a)=>i`<${Pt} image=${r} active=${a} onOpen=${()=>n(r)}>
      <p class="tile-label faint">${r.labels.find(l=>l.accepted)?.name}</p><//>`} />`}function ae(t){let[e,n]=k(null),{params:o}=z.value,r=Number(o.get("show"))||0,s=d=>{let u=new URLSearchParams(z.value.params);return d?u.set("show",String(d)):u.delete("show"),D(t,u)},a=(d,u=null,c=!1)=>{n(u),et(s(d),c)},l=r>0&&i`<${vt} id=${r} known=${e?.id===r?e:null}
    onClose=${()=>Rt(s(0))} onStep=${d=>a(d.id,d,!0)}
    onSearch=${d=>et(D(["search"],mt({...kt,examples:[d]})))} />`;return{open:a,detail:l}}function bn(){let t=z.value.params.get("ids")??"",e=[...new Set(t.split(",").map(Number).filter(r=>Number.isInteger(r)&&r>0))],{open:n,detail:o}=ae(["images"]);return i`<h1>${_(e.length,"image")}</h1>
    ${e.length?i`<${ie} key=${t} ids=${e} onOpen=${r=>n(r.id,r)} />`:i`<${K} title="The address names no image"><p><a href="#/search">Go to the search</a></p><//>`}
    ${o}`}var yt=60,gn=150;function le({path:t,target:e,tail:n}){let{params:o}=z.value,r=o.get("prefix")??"",s=o.get("type")??"",[a,l]=k(null),[d,u]=k(!1),[c,m]=k(null),[y,p]=k(0),$=f=>{let g=Object.fromEntries(Object.entries({prefix:r,type:s,...f}).filter(([,w])=>w));et(D(t,g),!0)};M(()=>{let f=new AbortController,g=setTimeout(async()=>{try{let w=await L.entities({prefix:r,type:s,limit:yt},f.signal);ot(w),l(w),u(w.length===yt),m(null),(r||s)&&q(w.length===yt?`${yt} or more entities.`:_(w.length,"entity","entities"))}catch(w){w.name!=="AbortError"&&m(w)}},a?gn:0);return()=>{clearTimeout(g),f.abort()}},[r,s,y]);let h=async()=>{try{let f=await L.entities({prefix:r,type:s,limit:yt,offset:a.length});ot(f),l([...a,...f]),u(f.length===yt)}catch(f){m(f)}};return i`
    <form class="entity-filters" role="search" onSubmit=${f=>f.preventDefault()}>
      <label class="field"><span>Name begins with</span><input type="text" value=${r} autocomplete="off"
        onInput=${f=>$({prefix:f.currentTarget.value})} /></label>
      <label class="field"><span>Type</span><input type="text" value=${s} autocomplete="off"
        onInput=${f=>$({type:f.currentTarget.value})} /></label>
    </form>
    ${c&&i`<${U} error=${c} retry=${()=>p(y+1)} />`}
    ${!a&&!c&&i`<${W} />`}
    ${a?.length===0&&(r||s?i`<${K} title="No entity is called so">
        <p>Write the beginning of its name, or leave the type open.</p><//>`:i`<${K} title="The index knows no entities">
        <p>Build it of labels, or with a knowledge base: openmofi index build IMAGES --kb KB --entities all.</p><//>`)}
    <ul class="entity-list">${a?.map(f=>i`<li key=${f.id}>
      <a class="entity-card" href=${e(f)}>
        <strong>${f.name}</strong>
        <span class="faint">${At(f)}</span>
        <span class="figure">${n?n(f):_(f.images,"image")}</span>
      </a></li>`)}</ul>
    ${d&&i`<p class="center"><button class="button" onClick=${h}>Show more</button></p>`}`}function yn(){return i`<h1>Entities</h1>
    <${le} path=${["entities"]} target=${t=>D(["entity",t.id])} />`}var wn=12,kn=[["labels","Labels"],["candidates","Below the threshold"],["all","All"]],vn=[["sure","Surest first"],["doubt","Most doubtful first"]];function xn(){let{rest:[t=""],params:e}=z.value,[n,o]=k(null),[r,s]=k(null),[a,l]=k(null),[d,u]=k(0);return M(()=>{let c=!0;return L.entity(t).then(m=>{c&&(ot([m]),o(m))},m=>c&&l(m)),L.similar(t).then(m=>c&&s(m),()=>{}),()=>{c=!1}},[t,d]),a?i`<h1 class="unseen">Entity</h1><${U} error=${a} retry=${()=>{l(null),u(d+1)}} />
    <p class="center"><a href="#/entities">All entities</a></p>`:n?i`
    <article class="entity">
      <header class="entity-head">
        <div>
          <h1>${n.name}</h1>
          ${n.description&&i`<p class="lead">${n.description}</p>`}
          <ul class="chips" aria-label="Types">
            ${n.types.filter(lt).map(c=>i`<li key=${c}><${Ae} href=${D(["entities"],{type:c})}>${lt(c)}<//></li>`)}
            <li><span class="faint">${n.id}</span></li>
          </ul>
          <${En} aliases=${n.aliases.filter(c=>c.toLowerCase()!==n.name.toLowerCase())} />
        </div>
        <div class="entity-side">
          <dl class="counts">
            <div><dt>named in</dt><dd>${Z(n.named)} <span>${n.named===1?"text":"texts"}</span></dd></div>
            <div><dt>shown in</dt><dd>${Z(n.images)} <span>${n.images===1?"image":"images"}</span></dd></div>
          </dl>
          <div class="actions">
            <a class="button main" href=${D(["search"],mt({...kt,entity:t}))}><${P} name="search" />Search for it</a>
            <a class="button" href=${D(["review","grid",t])}><${P} name="check" />Review its labels</a>
          </div>
        </div>
      </header>
      <${Sn} entity=${n} params=${e} />
      ${r?.length>0&&i`<section aria-labelledby="look-alikes"><h2 id="look-alikes">It may be mistaken for</h2>
        <ul class="entity-list">${r.map(c=>i`<li key=${c.id}>
          <a class="entity-card" href=${D(["entity",c.id])}><strong>${c.name}</strong>
            <span class="faint">${At(c)}</span>
            <span class="figure">${_(c.images,"image")}</span></a></li>`)}</ul></section>`}
    </article>`:i`<${W} />`}function En({aliases:t}){let[e,n]=k(!1);if(!t.length)return null;let o=e?t:t.slice(0,wn);return i`<p class="aliases"><span class="faint">also</span> ${o.join(" \xB7 ")}
    ${t.length>o.length&&i` <button class="link" onClick=${()=>n(!0)}>and ${t.length-o.length} more</button>`}</p>`}function Sn({entity:t,params:e}){let n=e.get("show")??"labels",o=e.get("order")==="doubt"?"doubt":"sure",r=Number(e.get("image"))||0,[s,a]=k(null),l={labels:!0,candidates:!1}[n],d={labels:t.images,candidates:t.named-t.images}[n]??t.named,u=Ft(async(p,$,h)=>({items:await L.entityImages(t.id,{order:o,accepted:l,limit:$,offset:p},h),total:d}),`${t.id} ${n} ${o} ${d} ${ht.value}`),c=(p,$=!0)=>{let h=new URLSearchParams(e);Object.entries(p).forEach(([f,g])=>g?h.set(f,g):h.delete(f)),et(D(["entity",t.id],h),$)},m=()=>{let p=new URLSearchParams(e);p.delete("image"),Rt(D(["entity",t.id],p))},y=(p,$,h,f,g)=>i`<fieldset class="levels"><legend class="unseen">${p}</legend>
    ${h.map(([w,A])=>i`<label key=${w}><input type="radio" name=${$} checked=${w===f}
      onChange=${()=>c({[$]:w===g?"":w})} /><span>${A}</span></label>`)}</fieldset>`;return i`<section aria-labelledby="images">
    <div class="results-head"><h2 id="images">Images</h2>
      ${y("Which images","show",kn,n,"labels")}${y("Order","order",vn,o,"sure")}</div>
    ${u.error?i`<${U} error=${u.error} retry=${()=>u.retry()} />`:u.total===null?i`<${W} />`:u.total?i`<${It} label=${`Images of ${t.name}`} list=${u} entity=${t.id}
            tile=${(p,$,h)=>i`<${Pt} image=${p.image} active=${h} kind=${p.accepted?"":"beyond"}
              about=${`probability ${G(p.probability)}${p.verdict?`, judged ${X[p.verdict]}`:""}`}
              onOpen=${()=>{a(p.image),c({image:String(p.image.id)},!1)}}>
              <div class="tile-row"><${dt} value=${p.probability} />
                ${p.verdict&&i`<span class=${`said ${p.verdict}`}>${X[p.verdict]}</span>`}</div><//>`} />`:i`<${K} title="No image here">
          <p>${n==="labels"?"No image is labelled with it.":"There is none of this kind."}</p><//>`}
    ${r>0&&i`<${vt} id=${r} known=${s?.id===r?s:null}
      onClose=${m} onStep=${p=>{a(p),c({image:String(p.id)})}}
      onSearch=${p=>et(D(["search"],mt({...kt,examples:[p]})))} />`}
  </section>`}var xt=([t,e,n,o])=>({x:(t+n)/2,y:(e+o)/2,zoom:1});function ue({deepest:t},[e,n,o]){let r=65536/2**Math.min(e,t);return{left:n*r,top:o*r,side:r}}function Oe(t,e){let n=Math.floor(t.byteLength/17),o=0,r=s=>{let a=new s(t,o,n);return o+=a.byteLength,a};return{...e,images:r(Float64Array),x:r(Uint16Array),y:r(Uint16Array),area:r(Uint16Array),type:r(Uint8Array),probability:r(Uint8Array),verdict:r(Uint8Array)}}var it=(t,{width:e,height:n,bounds:[o,r,s,a]})=>t.zoom*Math.min(Math.max(1,e-32)/Math.max(1,s-o),Math.max(1,n-32)/Math.max(1,a-r));function pt(t,e,n,o){let r=it(t,e);return[t.x+(n-e.width/2)/r,t.y+(o-e.height/2)/r]}function ft(t,e,n,o){let r=it(t,e);return[(n-t.x)*r+e.width/2,(o-t.y)*r+e.height/2]}var Ht=(t,e,n)=>Math.min(n,Math.max(e,t)),Vt=({x:t,y:e,zoom:n},[o,r,s,a])=>({x:Ht(t,o,s),y:Ht(e,r,a),zoom:Ht(n,1,4e3)});function zt(t,e,n,[o,r],[s,a]){let[l,d]=pt(t,e,o,r),u=Ht(t.zoom*n,1,4e3),c=it({...t,zoom:u},e);return Vt({x:l-(s-e.width/2)/c,y:d-(a-e.height/2)/c,zoom:u},e.bounds)}var Et=(t,e,n,o=e.width/2,r=e.height/2)=>zt(t,e,n,[o,r],[o,r]);function Yt(t,e){let[n,o]=pt(t,e,0,0),[r,s]=pt(t,e,e.width,e.height);return[[n,o],[r,o],[r,s],[n,s]]}function de(t,e,n,o){let[[r,s],,[a,l]]=Yt(e,n),d=t.tiles.filter(c=>{let m=ue(t,c);return m.left<=a&&m.top<=l&&m.left+m.side>=r&&m.top+m.side>=s}),u=[];for(let c=0,m=0;c<d.length&&m<o;){let y=c,p=0;for(;y<d.length&&d[y][0]===d[c][0];)p+=d[y++][3];let $=Math.min(1,(o-m)/p);for(;c<y;)u.push([d[c],Math.floor(d[c++][3]*$)]);m+=p}return u}function Ne(t,e,n,o){let r=null,s=o*o;for(let[a,l]of t){if(e+o<a.left||n+o<a.top||e-o>a.left+a.side||n-o>a.top+a.side)continue;let d=a.side/65536;for(let u=0;u<l;u+=1){let c=(a.left+a.x[u]*d-e)**2+(a.top+a.y[u]*d-n)**2;c<=s&&([r,s]=[{tile:a,row:u},c])}}return r}var Zt=(t,e)=>[t.left+t.x[e]*t.side/65536,t.top+t.y[e]*t.side/65536];function Le(t,e,n){let o=!1;for(let r=0,s=t.length-1;r<t.length;s=r,r+=1){let[[a,l],[d,u]]=[t[r],t[s]];l>n!=u>n&&e<(d-a)*(n-l)/(u-l)+a&&(o=!o)}return o}var De=t=>t.split(",").map(Number),ce=t=>Number(t.toFixed(2));function Ie(t){let e=Math.max(1,Math.ceil(t.length/60));return t.filter((n,o)=>o%e===0).map(n=>n.map(ce).join(",")).join(";")}function Xt(t){let e=t.split(";").map(De),n=o=>o.length===2&&o.every(r=>Math.abs(r)<=1e6);return e.length>=3&&e.length<=500&&e.every(n)?e:null}function Pe(t,e){let n=[t.x,t.y,t.zoom].map(ce).join();return n===Object.values(xt(e)).map(ce).join()?"":n}function me(t,e){let[n,o,r,...s]=De(t);return t&&!s.length&&[n,o,r].every(Number.isFinite)?Vt({x:n,y:o,zoom:r},e):xt(e)}var Qt=8,Mn=`#version 300 es
in float x; in float y; in float shade;
uniform vec4 box; uniform vec4 colours[16]; uniform float size;
flat out vec3 colour;
void main() {
  vec4 own = colours[int(shade)];
  gl_Position = vec4(x * box.x + box.z, y * box.y + box.w, shade / 16.0, 1.0);
  gl_PointSize = size * own.a;
  colour = own.rgb;
}`,An=`#version 300 es
precision lowp float;
flat in vec3 colour; out vec4 painted;
void main() { painted = vec4(colour, 1.0); }`,Tn=/swiftshader|llvmpipe|softpipe|software|basic render/i,_e=null;function Cn(){let t=document.createElement("canvas").getContext("webgl2",{failIfMajorPerformanceCaveat:!0});if(!t)return!1;let e=t.getExtension("WEBGL_debug_renderer_info"),n=t.getParameter(e?e.UNMASKED_RENDERER_WEBGL:t.RENDERER);return t.getExtension("WEBGL_lose_context")?.loseContext(),!Tn.test(n)}function pe(t){_e??=Cn();let e=_e&&t.getContext("webgl2",{antialias:!1,preserveDrawingBuffer:!0});return e?Rn(t,e):On(t)}function Fe(t,{width:e,height:n}){let o=devicePixelRatio||1,[r,s]=[Math.round(e*o),Math.round(n*o)];return(t.width!==r||t.height!==s)&&([t.width,t.height]=[r,s]),o}function je(t,e){return Uint8Array.from(t.x,(n,o)=>e.shade(t,o))}function Rn(t,e){let n=e.createProgram();for(let[p,$]of[[e.VERTEX_SHADER,Mn],[e.FRAGMENT_SHADER,An]]){let h=e.createShader(p);e.shaderSource(h,$),e.compileShader(h),e.attachShader(n,h)}e.linkProgram(n),e.useProgram(n),e.enable(e.DEPTH_TEST),e.depthFunc(e.LEQUAL);let[o,r,s]=["box","colours","size"].map(p=>e.getUniformLocation(n,p)),a=new Map,l=new Set,d=null,u=1,c=(p,$,h,f)=>{let g=e.createBuffer(),w=e.getAttribLocation(n,p);return e.bindBuffer(e.ARRAY_BUFFER,g),e.bufferData(e.ARRAY_BUFFER,$,e.STATIC_DRAW),e.enableVertexAttribArray(w),e.vertexAttribPointer(w,1,h,f,0,0),g},m=({array:p,buffers:$})=>{e.deleteVertexArray(p),$.forEach(h=>e.deleteBuffer(h))},y=p=>{l.add(p);let $=a.get(p);if($?.key!==d.key){$&&m($);let h=e.createVertexArray();e.bindVertexArray(h),$={array:h,key:d.key,buffers:[c("x",p.x,e.UNSIGNED_SHORT,!0),c("y",p.y,e.UNSIGNED_SHORT,!0),c("shade",je(p,d),e.UNSIGNED_BYTE,!1)]},a.set(p,$)}e.bindVertexArray($.array)};return{clear(p,$){for(let[h,f]of a)l.has(h)||(m(f),a.delete(h));l=new Set,d=$,u=Fe(t,p),e.viewport(0,0,t.width,t.height),e.uniform4fv(r,d.colours.flat()),e.clear(e.COLOR_BUFFER_BIT|e.DEPTH_BUFFER_BIT)},draw(p,$,h,f,g,w){y(p);let[A,b]=ft(f,g,p.left,p.top),S=p.side*it(f,g);e.uniform4f(o,2*S/g.width,-2*S/g.height,2*A/g.width-1,1-2*b/g.height),e.uniform1f(s,w*u),e.drawArrays(e.POINTS,$,h-$)},show(){}}}function On(t){let e=t.getContext("2d",{willReadFrequently:!0}),n=new WeakMap,o=null,r=1,s=null,a=null,l=null,d=null;return{clear(u,c){o=c,r=Fe(t,u),(s?.width!==t.width||s.height!==t.height)&&(s=e.createImageData(t.width,t.height),a=new Uint32Array(s.data.buffer),l=new Uint8Array(a.length)),a.fill(0),l.fill(o.colours.length),d=o.colours.map(m=>new Uint32Array(Uint8Array.from([...m.slice(0,3).map(y=>Math.round(y*255)),255]).buffer)[0])},draw(u,c,m,y,p,$){n.get(u)?.key!==o.key&&n.set(u,{key:o.key,shades:je(u,o)});let{shades:h}=n.get(u),[f,g]=ft(y,p,u.left,u.top).map(N=>N*r),w=u.side*it(y,p)*r/65536,A=o.colours.map(([,,,N])=>Math.max(1,Math.round($*r*N))),{width:b,height:S}=s;for(let N=c;N<m;N+=1){let Y=h[N],B=A[Y],H=Math.round(f+u.x[N]*w-B/2),C=Math.round(g+u.y[N]*w-B/2);if(H+B<=0||C+B<=0||H>=b||C>=S)continue;let nt=Math.min(b,H+B);for(let x=Math.max(0,C);x<Math.min(S,C+B);x+=1)for(let T=x*b+Math.max(0,H),I=x*b+nt;T<I;T+=1)Y>l[T]||(l[T]=Y,a[T]=d[Y])}},show(){e.putImageData(s,0,0)}}}var Nn=4,Ln=6e5;function Ue(t,e,n){let o=new Map,r=new Set,s=new AbortController,a=[],l=0,d=()=>{for(;r.size<Nn&&a.length;){let u=a.shift(),c=u.slice(0,3).join("/");r.has(c)||o.has(c)||(r.add(c),L.mapTile(c,t.state,s.signal).then(m=>{o.set(c,Oe(m,ue(t,u))),l+=u[3],e()}).catch(m=>{s.signal.aborted||n(m)}).finally(()=>{r.delete(c),d()}))}};return{take(u){let c=[],m=[];for(let[y,p]of u){let $=y.slice(0,3).join("/"),h=o.get($);if(!h){m.push(y);continue}o.delete($),o.set($,h),c.push([h,Math.min(p,h.x.length)])}for(let[y,p]of o){if(l<=Ln||o.size<=c.length)break;o.delete(y),l-=p.x.length}return a=m,d(),c},close:()=>s.abort()}}var Dn=.15,Jt=1.4,In=9,Pn=4,_n=250,Fn=15e4,[jn,Un]=[8e3,6e4],Bn=20,Wn=300,Kn=64,te=3e4;function Gn(t){te=t>Bn?Math.max(jn,te*.75):Math.min(Un,te*1.03)}function qn({painter:t,tiles:e,plane:n,frame:o,size:r,style:s,radius:a},l,d){let u=new Map,c=!0,m=0,y=p=>{requestAnimationFrame(w=>Gn(w-p));let $=Math.floor(te),h=$,f=(w,A)=>{let b=u.get(w)??0,S=Math.min(A,b+h);S<=b||(t.draw(w,b,S,o,r,a),u.set(w,S),h-=S-b)};if(c){t.clear(r,s);for(let[w,A]of e.take(de(n,o,r,$)))f(w,A);c=!1}let g=e.take(de(n,o,r,Fn));for(let[w,A]of g)h&&f(w,A);t.show(),l($-h),m=0,g.some(([w,A])=>(u.get(w)??0)<A)?m=requestAnimationFrame(y):d(g)};return m=requestAnimationFrame(y),{stop:()=>cancelAnimationFrame(m),more:()=>{m||=requestAnimationFrame(y)}}}function Hn(t,e,n){let o=[],[[r,s],,[a,l]]=Yt(e,n);for(let[u,c]of t){let[m,y,p,$]=[r-u.left,a-u.left,s-u.top,l-u.top].map(h=>h*65536/u.side);for(let h=0;h<c;h+=1){if(u.x[h]<m||u.x[h]>y||u.y[h]<p||u.y[h]>$)continue;let f=Zt(u,h),[g,w]=ft(e,n,...f);if(o.push({id:u.images[h],at:f,x:g,y:w,tile:u,row:h})>Wn)return[]}}let d=[];for(let u of o)d.every(({x:c,y:m})=>Math.max(Math.abs(c-u.x),Math.abs(m-u.y))>Kn)&&d.push(u);return d}function Vn(t,e,n){let o=[];return t.areas.forEach(({entities:r,type:s,x:a,y:l},d)=>{let u=r[0]||s,[c,m]=ft(e,n,a,l),y=Math.min(90,10+4*u.length);!u||c<y||m<56||c>n.width-y||m>n.height-14||o.every(p=>Math.abs(p.top-m)>24||Math.abs(p.left-c)>p.half+y)&&o.push({place:d,name:u,left:c,top:m,half:y})}),o}function Be({plane:t,tiles:e,turn:n,style:o,frame:r,onFrame:s,lasso:a,marked:l,onLasso:d,onOpen:u}){let c=j(null),m=j(null),y=j([]),p=j(null),[$,h]=k(!1),[f,g]=k(null),[w,A]=k(null),[b,S]=k([]),[N,Y]=k(null),B=j(null),H=j(new Map),C=()=>({width:c.current.clientWidth,height:c.current.clientHeight,bounds:t.bounds}),nt=Math.min(7,(t.images>2e4?2:t.images>2e3?3.6:6.4)*Math.sqrt(r.zoom)),x=c.current&&o(c.current);ye(()=>{if(!N)return;m.current??=pe(c.current);let v=0,E=c.current;return p.current=qn({painter:m.current,tiles:e,plane:t,frame:r,size:N,style:x,radius:nt},O=>{E.dataset.marks=String(O)},O=>{y.current=O,E.dataset.drawn=String(O.reduce((R,[,V])=>R+V,0)),clearTimeout(v),v=setTimeout(()=>S(Hn(O,r,N)),_n)}),()=>{p.current.stop(),clearTimeout(v)}},[t,e,r,x?.key,N]),M(()=>p.current?.more(),[n]),M(()=>{let v=c.current,E=()=>Y(C());E();let O=new ResizeObserver(E);O.observe(v);let R=matchMedia("(prefers-color-scheme: dark)");R.addEventListener("change",E);let V=wt=>{wt.preventDefault();let[Xe,Qe]=T(wt);s(Je=>Et(Je,C(),Math.exp(-wt.deltaY/400),Xe,Qe))},be=wt=>wt.preventDefault(),ge=()=>{m.current=pe(v),E()};return v.addEventListener("wheel",V,{passive:!1}),v.addEventListener("webglcontextlost",be),v.addEventListener("webglcontextrestored",ge),()=>{O.disconnect(),R.removeEventListener("change",E),v.removeEventListener("wheel",V),v.removeEventListener("webglcontextlost",be),v.removeEventListener("webglcontextrestored",ge)}},[t]);let T=v=>{let E=c.current.getBoundingClientRect();return[v.clientX-E.left,v.clientY-E.top]},I=(v,E)=>Ne(y.current,...pt(r,C(),v,E),In/it(r,C())),F=()=>{let[[v,E],[O,R]]=H.current.values();return{apart:Math.max(1,Math.hypot(v-O,E-R)),middle:[(v+O)/2,(E+R)/2]}},J=v=>{if(v.button)return;v.currentTarget.setPointerCapture(v.pointerId);let[E,O]=T(v);H.current.set(v.pointerId,[E,O]),A(null),g(null),H.current.size===2?B.current={frame:r,pinch:F()}:H.current.size===1?B.current={x:E,y:O,frame:r,path:$||v.shiftKey?[pt(r,C(),E,O)]:null}:B.current=null},St=v=>{let[E,O]=T(v),R=B.current;if(H.current.has(v.pointerId)&&H.current.set(v.pointerId,[E,O]),R?.pinch){let V=F();s(()=>zt(R.frame,C(),V.apart/R.pinch.apart,R.pinch.middle,V.middle))}else if(R?.path)R.path.push(pt(r,C(),E,O)),g([...R.path]);else if(R)s(()=>zt(R.frame,C(),1,[R.x,R.y],[E,O]));else{let V=v.pointerType==="mouse"?I(E,O):null;A(V&&{id:V.tile.images[V.row],x:E,y:O})}},ee=()=>{H.current.clear(),B.current=null,g(null)},Ye=v=>{let E=B.current;if(ee(),!E||E.pinch)return;let[O,R]=T(v),V=!E.path&&Math.hypot(O-E.x,R-E.y)<Pn&&I(O,R);E.path?.length>2?d(E.path):V&&u(V.tile.images[V.row])},Ze=v=>{let E={ArrowLeft:[-1,0],ArrowRight:[1,0],ArrowUp:[0,-1],ArrowDown:[0,1]}[v.key],O=Dn*Math.min(C().width,C().height)/it(r,C());if(!(v.altKey||v.ctrlKey||v.metaKey)){if(E)s(R=>Vt({...R,x:R.x+E[0]*O,y:R.y+E[1]*O},t.bounds));else if(v.key==="+"||v.key==="=")s(R=>Et(R,C(),Jt));else if(v.key==="-")s(R=>Et(R,C(),1/Jt));else if(v.key==="0"||v.key==="Home")s(()=>xt(t.bounds));else if(v.key==="Enter")d(Yt(r,C()));else if(v.key==="Escape"&&B.current)ee();else return;v.preventDefault()}},ne=(v,E,O)=>i`<button class="button" aria-label=${E} title=${E}
    onClick=${()=>{s(R=>v?Et(R,C(),v):xt(t.bounds)),q(E)}}>${O}</button>`,oe=v=>N&&ft(r,N,...v),he=([v,E])=>({transform:`translate(${v}px, ${E}px)`}),re=N&&(f??a)?.map(v=>oe(v).map(E=>E.toFixed(1)).join()).join(" ");return i`<div class="map-frame">
    <div class="map-tools" role="group" aria-label="Map">
      <button class="button" aria-pressed=${$} onClick=${()=>h(!$)}><${P} name="lasso" />Lasso</button>
      ${ne(Jt,"Zoom in","+")}${ne(1/Jt,"Zoom out","\u2212")}${ne(0,"Show all","All")}
    </div>
    <canvas ref=${c} class=${$?"drawing":""} tabindex="0" role="application" aria-roledescription="map"
      data-zoom=${r.zoom.toFixed(2)} data-centre=${`${Math.round(r.x)},${Math.round(r.y)}`}
      aria-label="Map of the collection. Arrow keys move it, plus and minus zoom, 0 shows all, Enter chooses the images in view. Its areas are listed below."
      onPointerDown=${J} onPointerMove=${St} onPointerUp=${Ye} onPointerCancel=${ee}
      onPointerLeave=${()=>A(null)} onKeyDown=${Ze} />
    ${N&&i`<div class="map-over" aria-hidden="true">
      ${b.map(({id:v,at:E,tile:O,row:R})=>i`<div key=${v} class="map-image" style=${{...he(oe(E)),borderColor:zn(x,O,R)}}>
        <${Q} image=${{id:v}} /></div>`)}
      <svg>${re&&i`<polygon class="lasso-edge" points=${re} /><polygon points=${re} />`}
        ${l.map(v=>{let[E,O]=oe(v);return i`<circle key=${v.join()} cx=${E} cy=${O} r="6" />`})}</svg>
      ${Vn(t,r,N).map(({place:v,name:E,left:O,top:R})=>i`<span key=${v} class="map-name"
        style=${he([O,R])}><span>${E}</span></span>`)}
    </div>`}
    ${w&&i`<div class="map-near" style=${{left:`${w.x}px`,top:`${w.y}px`}}>
      <${Q} key=${w.id} image=${{id:w.id}} /></div>`}
  </div>`}function zn({colours:t,shade:e},n,o){return`rgb(${t[e(n,o)].slice(0,3).map(r=>r*255).join(" ")})`}var Yn=300,[Zn,Xn]=[500,100],We=[],Qn=.86;function Jn(){let[t,e]=k(null),[n,o]=k(null),[r,s]=k(0);M(()=>{let d=!0;return L.map().then(u=>d&&e(u),u=>d&&o(u)),()=>{d=!1}},[r]);let a=()=>{o(null),s(r+1)},l=d=>d instanceof we&&d.status===409?s(r+1):o(d);return i`<h1>Map</h1>${n?i`<${U} error=${n} retry=${a} />`:t?t.images?i`<${so} plane=${t} onError=${l} />`:i`<${K} title="There is no map"><p>${t.note}</p><//>`:i`<${W} />`}`}function to(t){let{types:e}=t;return{"":{title:"Types",of:(n,o)=>n.type[o],names:[...e.map(({type:n,images:o},r)=>[lt(n)||n,r+1,o]),["other types",0,t.other],["no label",0,t.unlabelled]]},probability:{title:"Probability",of:(n,o)=>{let r=(n.probability[o]-1)/254;return r<0?4:r>=.95?0:r>=.8?1:r>=.5?2:3},names:[["95 % or more",4],["80 to 95 %",2],["50 to 80 %",1],["less than 50 %",6],["no label",0]]},verdict:{title:"Verdict",of:(n,o)=>(n.verdict[o]+3)%4,names:[["right",4],["wrong",6],["unsure",3],["not judged",0]]}}}function eo(t,{names:e}){let n=getComputedStyle(t),o=a=>{let l=n.getPropertyValue(a).trim().slice(1).replace(/^(.)(.)(.)$/,"$1$1$2$2$3$3");return[0,2,4].map(d=>Number.parseInt(l.slice(d,d+2),16)/255)},r=o("--surface"),s=Array.from({length:Qt},(a,l)=>[...o(e[l]?.[1]?`--map-${e[l][1]}`:"--map-rest"),l===e.length-1?.6:1]);return[...s,...s.map(([a,l,d,u])=>[...[a,l,d].map((c,m)=>c+(r[m]-c)*Qn),u])]}function no(t){let{params:e}=z.value,n=e.get("at")??"",[o,r]=k(()=>me(n,t.bounds)),s=j(n);M(()=>{n!==s.current&&(s.current=n,r(me(n,t.bounds)))},[n]);let a=(l,d=!1)=>{let u=new URLSearchParams(z.value.params);Object.entries(l).forEach(([c,m])=>m?u.set(c,m):u.delete(c)),et(D(["map"],u),d)};return M(()=>{let l=setTimeout(()=>{let d=Pe(o,t.bounds);d===s.current||z.value.view!=="map"||(s.current=d,a({at:d},!0))},Yn);return()=>clearTimeout(l)},[o]),{params:e,frame:o,setFrame:r,set:a}}function oo(t,e,n,o){let[r,s]=k(null);return M(()=>{if(s(null),!e&&n===null)return;let a=new AbortController;return L.mapChosen(e?{lasso:Xt(e)}:{area:n},a.signal).then(l=>{s(l),q(`${_(l.total,"image")} chosen.`)},l=>{a.signal.aborted||o(l)}),()=>a.abort()},[t,e,n]),r}function ro(t,e){let n=Me(t)?JSON.stringify(_t(t)):"",[o,r]=k(We);return M(()=>{if(r(We),!n)return;let s=new AbortController;return(async()=>{let{hits:a,end:l}=await L.search({...JSON.parse(n),limit:Zn},s.signal),d=a.slice(0,l||Xn).map(({image:m})=>m.id),{x:u,y:c}=d.length?await L.mapPlaces(d,s.signal):{x:[],y:[]};r(u.map((m,y)=>[m,c[y]])),q(`${_(u.length,"image")} marked.`)})().catch(a=>{s.signal.aborted||e(a)}),()=>s.abort()},[n]),{asked:n,marked:o}}function so({plane:t,onError:e}){let{params:n,frame:o,setFrame:r,set:s}=no(t),[a,l]=k(null),[d,u]=k(0),{open:c,detail:m}=ae(["map"]),y=Xt(n.get("lasso")??"")?n.get("lasso"):"",p=Mt(()=>y?Xt(y):null,[y]),$=n.has("area")?Number(n.get("area")):null,h=!y&&t.areas[$]?$:null,f=oo(t,y,h,e),g=Se(n),{asked:w,marked:A}=ro(g,e);M(()=>{$t(g.entity)},[g.entity]);let b=g.text||at.value[g.entity]||g.entity,S=Mt(()=>Ue(t,()=>u(C=>C+1),e),[t]);M(()=>S.close,[S]);let N=Mt(()=>to(t),[t]),Y=n.get("colour")??"",B=Object.hasOwn(N,Y)?Y:"",H=C=>{let nt=eo(C,N[B]),{of:x}=N[B],T=(I,F,J)=>(a===null||a===J)&&(h===null||I.area[F]===h)&&(!p||Le(p,...Zt(I,F)));return{key:[nt,B,a,h,y].join("|"),colours:nt,shade:(I,F)=>{let J=Math.min(Qt-1,x(I,F));return T(I,F,J)?J:J+Qt}}};return i`
    <p class="lead">${_(t.images,"image")}; those that are alike lie near each other.${t.missing>0&&` ${_(t.missing,"image")} came since and are not on it: openmofi index map INDEX makes it anew.`}</p>
    ${w&&i`<div class="results-head"><p><strong>${_(A.length,"image")}</strong> marked${b?i`: ${b}`:" of a search"}</p>
      <button class="button" onClick=${()=>s(Object.fromEntries([...mt(g).keys()].map(C=>[C,""])))}>Mark none</button></div>`}
    <div class="map">
      <${Be} plane=${t} tiles=${S} turn=${d} style=${H} frame=${o} onFrame=${r} lasso=${p} marked=${A}
        onLasso=${C=>s({lasso:Ie(C),area:""})} onOpen=${c} />
      <div class="map-side">
        <${io} ways=${N} way=${B} bright=${a} onBright=${l}
          onWay=${C=>{l(null),s({colour:C},!0)}} />
        <${ao} plane=${t} area=${h} params=${n} />
      </div>
    </div>
    ${f&&i`<${lo} key=${`${y} ${h}`} chosen=${f}
      onOpen=${C=>c(C.id,C)} onNone=${()=>s({lasso:"",area:""})} />`}
    ${m}`}function io({ways:t,way:e,bright:n,onBright:o,onWay:r}){let{names:s}=t[e];return i`<section aria-labelledby="legend"><h2 id="legend">${t[e].title}</h2>
    <label class="field inline"><span>Colours</span> <select value=${e} onChange=${a=>r(a.currentTarget.value)}>
      ${Object.entries(t).map(([a,{title:l}])=>i`<option key=${a} value=${a} selected=${a===e}>${l}</option>`)}</select></label>
    <ul class="legend">${s.map(([a,l,d],u)=>d!==0&&i`<li key=${a}>
      <button type="button" aria-pressed=${n===u} title=${`Let ${a} stand out`}
        onClick=${()=>o(n===u?null:u)}>
        <span class=${`swatch ${l?`of-${l}`:u===s.length-1?"small":""}`} />
        <span>${a}</span>${d!==void 0&&i` <span class="figure">${Z(d)}</span>`}</button></li>`)}</ul></section>`}function ao({plane:t,area:e,params:n}){let o=r=>{let s=new URLSearchParams(n);return s.delete("lasso"),r===e?s.delete("area"):s.set("area",String(r)),D(["map"],s)};return i`<section aria-labelledby="areas"><h2 id="areas">Areas</h2>
    <ol class="areas">${t.areas.map(({images:r,entities:s,type:a},l)=>i`<li key=${l}>
      <a href=${o(l)} aria-current=${l===e?"true":void 0}>
        <span>${s.join(", ")||a||`Area ${l+1}`}</span> <span class="figure">${_(r,"image")}</span></a></li>`)}</ol>
  </section>`}function lo({chosen:{total:t,images:e},onOpen:n,onNone:o}){let r=j(null);return M(()=>{r.current.getBoundingClientRect().top>innerHeight-60&&r.current.scrollIntoView({block:"center"})},[]),i`<section aria-labelledby="chosen">
    <div class="results-head"><h2 id="chosen" ref=${r}>${_(t,"image")} chosen</h2>
      <button class="button" onClick=${o}>Choose none</button></div>
    ${t>e.length&&i`<p class="note" role="note">The first ${Z(e.length)} are listed: choose fewer to see all.</p>`}
    ${t?i`<${ie} ids=${e} picked onOpen=${n} />`:i`<${K} title="No image lies here"><p>Draw around some points, or take an area.</p><//>`}
  </section>`}var Ke=50,co=new Intl.DateTimeFormat("en",{dateStyle:"medium",timeStyle:"short"});function Ge(){let t=ut.value,[e,n]=k(null),[o,r]=k(!1),[s,a]=k(null),l=async m=>{a(null);try{await m()}catch(y){a(y)}},d=m=>l(async()=>{let y=await L.history({who:t,limit:Ke,offset:m.length});ut.value===t&&(n([...m,...y]),r(y.length===Ke))});M(()=>{n(null),d([])},[t]);let u=m=>l(async()=>{await bt([m.verdict.id]),n(y=>y.filter(p=>p!==m)),q(`${m.entity.name}: taken back.`)}),c=s&&i`<${U} error=${s} retry=${()=>d(e??[])} />`;return e?i`${c}
    ${e.length===0&&i`<${K} title="No verdicts yet"><p>${t?`None is by ${t}.`:"None was given without a name. Write your name to see yours."}</p><//>`}
    <ol class="history" aria-label="Verdicts, latest first">${e.map(m=>i`<${uo} key=${m.verdict.id} row=${m} onUndo=${()=>u(m)} />`)}</ol>
    ${o&&i`<p class="center"><button class="button" onClick=${()=>d(e)}>Show more</button></p>`}`:c||i`<${W} />`}function uo({row:t,onUndo:e}){let{verdict:n,image:o,entity:r,instead:s}=t;return i`<li>
    <span class="small-image">${o&&i`<${Q} image=${o} />`}</span>
    <div><p><span class=${`said ${n.verdict}`}>${X[n.verdict]}</span> <a href=${D(["entity",r.id])}>${r.name}</a>${s&&i`, it is <a href=${D(["entity",s.id])}>${s.name}</a>`}</p>
      <p class="faint">${o?i`<a href=${D(["images"],{ids:o.id,show:o.id})}>${rt(o)}</a>`:`${n.shard} \xB7 ${n.key}, no longer in the index`}
        ${" \xB7 "}<time datetime=${n.when}>${co.format(new Date(n.when))}</time></p></div>
    <button class="button small" aria-label=${`Take back: ${r.name} is ${X[n.verdict]}`} onClick=${e}><${P} name="undo" />Undo</button></li>`}var mo=150,fe=8,po=300;function fo(){let t=(document.querySelector("main")?.clientWidth??innerWidth)-(innerWidth>760?48:32),e=Math.max(2,Math.floor((t+fe)/(mo+fe)));return Math.min(60,e*Math.max(3,Math.floor((innerHeight-po)/(t/e))))}function qe({entity:t,name:e}){let[n,o]=k(null),[r,s]=k({}),[a,l]=k(new Set),[d,u]=k([]),[c,m]=k(null),[y,p]=k(!1),[$,h]=k(0),f=j(null),g=j(null),w=async()=>{m(null);try{o(await L.review({entity:t,order:"doubt",accepted:!0,who:ut.value,limit:fo()})),s({}),h(0)}catch(x){m(x)}};M(()=>{w()},[]);let A=async()=>{if(!(y||!n?.length)){if([...f.current.querySelectorAll("img")].some(x=>!x.complete)){q("Not all images are here yet.");return}p(!0),m(null);try{let x=await Nt(n.map(({image:I})=>({image:I,entity:t,value:S(I)}))),T=n.filter(({image:I})=>r[I.id]==="n").length;q(`${_(n.length,"label")} judged, ${T} of them wrong.`),u([...d,{ids:x,page:n,values:r}]),await w(),f.current?.querySelector("button")?.focus()}catch(x){m(x)}finally{p(!1)}}},b=async()=>{let x=d.at(-1);if(!(y||!x)){p(!0);try{await bt(x.ids),u(d.slice(0,-1)),o(x.page),s(x.values),q("The last page was taken back.")}catch(T){m(T)}finally{p(!1)}}},S=x=>r[x.id]??(a.has(x.id)?"u":"y"),N=(x,T)=>{let I=n[x]?.image.id;I!==void 0&&s(F=>({...F,[I]:T}))},Y=(x,T)=>{let{id:I}=n[x].image;s(F=>({...F,[I]:S({id:I})===T?"y":T}))};ct(x=>{if(x.key==="z")return b(),!0;if(!n?.length)return!1;let T=Math.max(1,Math.round(f.current.clientWidth/(f.current.firstElementChild.offsetWidth+fe))),I={ArrowLeft:-1,ArrowRight:1,ArrowUp:-T,ArrowDown:T}[x.key],F=f.current.contains(document.activeElement),J=F||document.activeElement===document.body||document.activeElement?.id==="main";if(x.key==="Enter"&&J)!x.repeat&&A();else if(x.key==="n"||x.key==="x"||x.key===" "&&F)Y($,"n");else if(x.key==="u")Y($,"u");else if(x.key==="y")N($,"y");else if(I&&J){let St=Math.max(0,Math.min(n.length-1,$+I));h(St),f.current.querySelectorAll("button")[St].focus()}else return!1;return!0});let B=(x,T)=>{if(x.pointerType==="touch"||x.button)return;let I=S(n[T].image)==="n"?"y":"n";g.current=I,N(T,I);let F=()=>{setTimeout(()=>{g.current=null}),removeEventListener("pointerup",F)};addEventListener("pointerup",F)},H=x=>{if(!g.current||!x.buttons)return;let T=document.elementFromPoint(x.clientX,x.clientY)?.closest("[data-place]")?.dataset.place;T!==void 0&&N(Number(T),g.current)},C=n?.filter(({image:x})=>S(x)!=="y").length??0,nt=c&&i`<${U} error=${c} retry=${n?void 0:w} />`;return n?i`
    ${nt}
    ${n.length===0?i`<${K} title="All of its labels are judged">
        <p><a href=${D(["entity",t])}>See the entity</a> or <a href="#/review">choose another</a>.</p><//>`:i`<p class="keys"><kbd>←</kbd><kbd>→</kbd><kbd>↑</kbd><kbd>↓</kbd> move <kbd>n</kbd> or <kbd>Space</kbd> wrong
          <kbd>u</kbd> unsure <kbd>Enter</kbd> take the page <kbd>z</kbd> undo; or click and drag over what is wrong</p>
        <div class="judge-grid" ref=${f} role="group" aria-label=${`Labels of ${e}, the most doubtful first`} onPointerMove=${H}>
          ${n.map(({image:x},T)=>{let I=S(x);return i`<button key=${x.id} type="button" class=${`judge ${I}`} data-place=${T}
                tabindex=${T===$?0:-1} aria-label=${`${rt(x)}: ${X[I]}`}
                onFocus=${()=>h(T)} onPointerDown=${F=>B(F,T)}
                onKeyDown=${F=>{F.key==="Enter"&&F.preventDefault()}}
                onClick=${F=>{F.detail&&!g.current&&Y(T,"n")}}>
              <${Q} key=${x.id} image=${x} onGone=${()=>l(F=>new Set(F).add(x.id))} />
              <span class="mark"><${P} name=${{y:"check",n:"close",u:"question"}[I]} /></span>
            </button>`})}
        </div>`}
    <div class="judge-bar">
      <button class="button main" disabled=${y||!n.length} onClick=${A}>
        <${P} name="check" />Take the page: ${n.length-C} right, ${C} not</button>
      <button class="button" disabled=${y||!d.length} onClick=${b}><${P} name="undo" /><span class="undo">Undo</span></button>
      <p class="faint">${d.length>0&&`${_(d.reduce((x,T)=>x+T.page.length,0),"label")} judged`}</p>
    </div>`:nt||i`<${W} />`}function He({entity:t}){let[e,n]=k(null);if(M(()=>{let d=!0;return L.precision(t).then(u=>d&&n(u),()=>{}),()=>{d=!1}},[ht.value,t]),!e?.judged)return null;let{precision:o,lower:r,upper:s,judged:a,labels:l}=e;return i`<p class="precision" role="note">
    <span class="interval" aria-hidden="true"><span class="range" style=${{left:`${r*100}%`,width:`${(s-r)*100}%`}} />
      <span class="point" style=${{left:`${o*100}%`}} /></span>
    <span>Precision of the labels <strong>${G(o)}</strong>${`, between ${G(r)} and ${G(s)} (95 % interval), by ${_(a,"verdict")} on ${_(l,"label")}`}</span></p>`}var $o=20,ho=9,Ve={y:"yes",n:"no",u:"unsure"},$e=({image:t,entity:e})=>`${t.id} ${e.id}`;function ze({entity:t}){let[e,n]=k(null),[o,r]=k([]),[s,a]=k(null),{current:l}=j(new Set),d=j(!1),u=async()=>{a(null);try{let g=await L.review({entity:t,order:"active",accepted:!0,who:ut.value,limit:$o+l.size});n(g.filter(w=>!l.has($e(w))))}catch(g){a(g)}};M(()=>{u()},[]);let c=e?.[0],m=()=>(l.add($e(c)),y()),y=async()=>e.length>1?n(e.slice(1)):u(),p=async(g,w="",A="")=>{if(!(d.current||!c)){d.current=!0,a(null);try{let b=await Nt([{image:c.image,entity:c.entity.id,value:g,instead:w}]);r([...o,{ids:b,item:c,value:g,name:A}]),q(`${A?`It is ${A}`:`You said ${Ve[g]}`}.`),await y()}catch(b){a(b)}finally{d.current=!1}}},$=async()=>{let g=o.at(-1);if(!(d.current||!g)){d.current=!0;try{await bt(g.ids),r(o.slice(0,-1)),n([g.item,...e??[]]),q("The last verdict was taken back.")}catch(w){a(w)}finally{d.current=!1}}};ct(g=>g.key!=="z"||g.repeat?!1:($(),!0));let h=o.at(-1),f=s&&i`<${U} error=${s} retry=${e?void 0:u} />`;return i`${f}
    ${!e&&!s&&i`<${W} />`}
    ${e&&(c?i`<${bo} key=${$e(c)} item=${c} onDecide=${p} onSkip=${m} />`:i`<${K} title="Everything is judged"><p>${t?"None of its labels is left.":"No label is left."}
          ${" "}<a href="#/review">Choose an entity</a></p><//>`)}
    <div class="judge-bar">
      <button class="button" disabled=${!h} onClick=${$}><${P} name="undo" /><span class="undo">Undo</span></button>
      <p class="faint" data-last>${h&&i`${h.item.entity.name}: you said ${Ve[h.value]}${h.name&&`, it is ${h.name}`};
        the labels gave it ${G(h.item.probability)}. ${_(o.length,"label")} judged.`}</p>
    </div>`}function bo({item:t,onDecide:e,onSkip:n}){let{image:o,entity:r}=t,[s,a]=k(null),[l,d]=k(null),[u,c]=k(!1);M(()=>{let b=!0;return L.reading(o.id).then(S=>b&&d(S),()=>{}),L.recogniseImage(o.id).then(S=>b&&a(S.entities),()=>b&&a([])),()=>{b=!1}},[]);let m=s?.find(b=>b.entity.id===r.id)?.evidence??[],y=l?.candidates??[],p=new Set(y.filter(b=>b.entity===r.id).map(b=>b.mention)),$=[...new Set([...p].map(b=>l.mentions[b]?.kind).filter(Boolean))],h=new Map(y.map(b=>[b.entity,b.description])),f=new Map(y.filter(b=>p.has(b.mention)).map(b=>[b.entity,b.name]));o.labels.forEach(b=>f.set(b.entity,b.name)),s?.filter(b=>(b.probability??1)>=Ut).forEach(b=>{f.set(b.entity.id,b.entity.name),h.set(b.entity.id,b.entity.description)}),f.delete(r.id);let g=[r.name,...f.values()],w=l?.text===o.text&&p.size?Ct(o.text,l.mentions.map(({start:b,end:S},N)=>({start:b,end:S,kind:p.has(N)?"meant":"other"}))):Tt(o.text,[r.name,...r.aliases]),A=[...f].slice(0,ho);return ct(b=>{if(b.repeat)return!1;let S=A[Number(b.key)-1];if(["y","n","u"].includes(b.key))e(b.key);else if(b.key==="s")n();else if(b.key==="i")c(!0);else if(S)e("n",...S);else return!1;return!0}),i`<div class="single">
    <div class="stage"><button class="plain" aria-label="Look closely" onClick=${()=>jt(o)}>
      <${gt} src=${tt(o.id)} alt=${o.text?"":o.key} width=${o.width} height=${o.height} /></button></div>
    <div class="about">
      <h2 class="question">Does it show <a href=${D(["entity",r.id])}>${r.name}</a>?</h2>
      ${r.description&&i`<p class="lead">${r.description}</p>`}
      ${o.text&&i`<blockquote class="caption">${w.map(b=>b.mark?i`<mark class=${b.mark}>${b.text}</mark>`:b.text)}</blockquote>`}
      ${$.length>0&&i`<p class="faint named-in">Named in ${$.join(", ")}</p>`}
      <div class="verdicts" role="group" aria-label="Verdict">
        <button class="button yes" onClick=${()=>e("y")}><${P} name="check" />Yes <kbd>y</kbd></button>
        <button class="button no" onClick=${()=>e("n")}><${P} name="close" />No <kbd>n</kbd></button>
        <button class="button" onClick=${()=>e("u")}><${P} name="question" />Unsure <kbd>u</kbd></button>
        <button class="button" onClick=${n}>Skip <kbd>s</kbd></button>
      </div>
      <section aria-label="It is this instead"><h3>It is this instead</h3>
        <ul class="chips">${A.map(([b,S],N)=>i`<li key=${b}><span class="chip">
          <button type="button" class="chip-text" title=${h.get(b)} onClick=${()=>e("n",b,S)}><kbd>${N+1}</kbd> ${S}${g.indexOf(S)!==g.lastIndexOf(S)&&h.get(b)&&i` <span class="homonym">${h.get(b)}</span>`}</button></span></li>`)}
          ${!u&&i`<li key="another"><span class="chip"><button type="button" class="chip-text" onClick=${()=>c(!0)}>
            <kbd>i</kbd> Another</button></span></li>`}</ul>
        ${u&&i`<div class="instead"><${Lt} label="It is instead" placeholder="name of an entity" focused
          onEntity=${b=>e("n",b.id,b.name)} /></div>`}</section>
      ${m.length>0&&i`<section aria-label="Evidence"><h3>Near it, and labelled ${r.name}</h3>
        <div class="evidence">${m.map(([b,S])=>i`<span key=${b.id} class="small-image" title=${`similarity ${S.toFixed(2)}`}>
          <${Q} image=${b} /></span>`)}</div></section>`}
    </div>
  </div>`}function go(){let{rest:[t="",e=""]}=z.value;M(()=>$t(e),[e]);let n=at.value[e]??e;if(ve.value.has(e))return i`<h1 class="unseen">Review</h1><${K} title=${`The index has no entity ${e}`}>
    <p><a href="#/review">Choose another</a></p><//>`;if(t&&!["grid","single","history"].includes(t))return i`<h1 class="unseen">Review</h1><${K} title="There is no such view">
    <p><a href="#/review">Go to the review</a></p><//>`;let o=t==="grid"&&e;return i`
    <header class="review-head">
      <div>
        <h1>${o?n:t==="single"?e?n:"Single labels":t==="history"?"My verdicts":"Review"}</h1>
        ${t!=="single"&&i`<p class="lead">${o?"Everything here is taken as right. Mark what does not show it.":t==="history"?"What you said, latest first. Each can be taken back.":"Choose an entity to judge its labels by the page, or judge single labels, the most telling first."}</p>`}
      </div>
      <div class="review-tools">
        <${xe} />
        ${t&&i`<nav aria-label="Ways to review" class="actions">
          ${o?i`<a class="button" href=${D(["review","single",e])}>One by one</a>`:e&&i`<a class="button" href=${D(["review","grid",e])}>As a grid</a>`}
          <a class="button" href="#/review">Other entities</a></nav>`}
      </div>
    </header>
    <${He} entity=${e} />
    ${o?i`<${qe} key=${e} entity=${e} name=${n} />`:t==="history"?i`<${Ge} />`:t==="single"?i`<${ze} key=${e} entity=${e} />`:i`<p class="actions"><a class="button main" href="#/review/single">Judge single labels</a>
            <a class="button" href="#/review/history">My verdicts</a>
            <a class="button" href="api/verdicts.parquet" download>Verdicts as Parquet</a></p>
          <h2>Entities</h2>
          <${le} path=${["review"]} target=${r=>D(["review","grid",r.id])}
            tail=${r=>_(r.images,"label")} />`}`}export{vt as Detail,yn as Entities,xn as Entity,un as ExampleDialog,bn as Images,Jn as MapView,hn as Rail,go as Review};
