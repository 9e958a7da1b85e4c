import{$ as At,A as gt,B as H,C as bt,D as yt,E as K,G as A,H as U,I as kt,J as M,K as F,M as D,N,O,P as wt,Q as X,R as Q,S as Zt,T as vt,U as xt,V as ot,W as St,X as Y,Y as Xt,Z as Et,_ as Bt,aa as J,b,ba as _,c as C,ca as Ct,d as Gt,da as Mt,e as W,ea as ut,f as nt,ga as dt,h as o,ka as Qt,l as I,m as Vt,n as z,q as ft,r as Yt,u as Z,v as ht,w as V,x as L,y as j,z as ct}from"./chunk-ZNOAAP7A.js";async function Tt(t){let{default:n}=await import("./photoswipe.esm-5BWHUGVW.js"),{width:e,height:r}=t.width?t:{width:1600,height:1200};new n({dataSource:[{src:z(t.id),msrc:Vt(t),width:e,height:r,alt:H(t)}],appendToEl:document.querySelector("dialog[open]")??document.body,showHideAnimationType:"none",bgOpacity:.94,zoom:!0,arrowKeys:!1,maxZoomLevel:8,closeTitle:"Close",zoomTitle:"Zoom",errorMsg:"The image cannot be loaded."}).init()}var he=3,ge={below_threshold:"below the threshold",sibling_preferred:"a similar entity is likelier",beyond_top_k:"other labels of this image are likelier"};function be(t,n,e){let r=new Map(t.labels.map(s=>[s.entity,{...s,candidate:null}]));for(let s of n?.candidates??[]){let a=r.get(s.entity)??{...s,candidate:null};r.set(s.entity,{...a,candidate:a.candidate??s})}for(let[s,a]of e)r.has(s)||r.set(s,{entity:s,name:ft.value[s]??s,probability:null,by:a.who});let i=s=>s.accepted||s.probability===null?1:0;return[...r.values()].sort((s,a)=>i(a)-i(s)||(a.probability??0)-(s.probability??0))}function ye(t,n){let{prior:e,link_score:r,image_score:i,reason:s}=t,a=n.mentions[t.mention],l=[e!==null&&`means this in ${j(e)} of its uses`,r!==null&&r>=0&&r<=1&&`${j(r)} with the rest of the text`].filter(Boolean).join(", "),c=n.candidates.filter(d=>d.image_score!==null),m=c.filter(d=>d.mention===t.mention),u=m.length>1?m:c,$=u.reduce((d,p)=>p.image_score>d.image_score?p:d,t),v=i!==null&&u.length>1&&($.entity===t.entity?`of ${L(u.length,"candidate")} the image is closest to this one`:`the image is closer to ${$.name}`);return[a&&`\u201C${a.surface}\u201D${a.kind?` (${a.kind})`:""} ${l}`.trim(),v,ge[s]].filter(Boolean).join("; ")}function Jt({image:t,reading:n,verdicts:e}){let[r,i]=b(!1),[s,a]=b(!1),l=be(t,n,e.said),c=l.filter((u,$)=>r||$<he||u.accepted||e.said.has(u.entity));C(()=>{e.said.forEach((u,$)=>{l.some(v=>v.entity===$&&v.candidate)||ht($)})},[e.said]);let m=u=>{a(!1),Z([u]),e.give(u,"y",!1)};return o`<section aria-label="Labels"><h3>Labels</h3>
    ${e.error&&o`<${D} error=${e.error} />`}
    <ul class="label-list">${c.map(u=>o`<li key=${u.entity} class=${u.accepted||u.probability===null?"":"candidate"}>
      <div class="recognised"><a href=${A(["entity",u.entity])} title=${u.description}>${u.name}</a>
        ${u.probability===null?o`<span class="faint">${u.by?`said by ${u.by}`:"said by a person"}</span>`:o`<${J} value=${u.probability} />`}
        <${Et} entity=${{id:u.entity,name:u.name}} verdicts=${e} /></div>
      ${u.candidate&&o`<p class="faint">${ye(u.candidate,n)}</p>`}</li>`)}</ul>
    ${!l.length&&o`<p class="faint">It has none.</p>`}
    <p class="actions">
      ${l.length>c.length&&o`<button class="link" onClick=${()=>i(!0)}>and ${L(l.length-c.length,"candidate")} more</button>`}
      ${!s&&o`<button class="button small" onClick=${()=>a(!0)}><${M} name="plus" />Add a label</button>`}</p>
    ${s&&o`<${St} label="It also shows" placeholder="name of an entity" focused onEntity=${m} />`}
  </section>`}function rt({src:t,alt:n,width:e=0,height:r=0,children:i}){let[s,a]=b(r?e/r:0),[l,c]=b(!1);return l?o`<p class="faint">The image cannot be shown. It may have been moved, or is of a kind that browsers do not show.</p>`:o`<div class="large" style=${s?{"--ratio":String(s)}:{}}>
    <img src=${t} alt=${n} draggable=${!1} onError=${()=>c(!0)}
      onLoad=${m=>a(m.currentTarget.naturalWidth/m.currentTarget.naturalHeight)} />
    ${i}
  </div>`}var It=.01;function Rt({image:t,upload:n,region:e,verdicts:r}){let[i,s]=b(null),[a,l]=b(null),[c,m]=b(0),[u,$]=b(!1);if(C(()=>{let p=!0;return s(null),l(null),(t===void 0?I.recogniseUpload(n,e):I.recogniseImage(t,e)).then(y=>p&&s(y),y=>p&&l(y)),()=>{p=!1}},[t,n,e?.join(),c]),a)return o`<${D} error=${a} retry=${()=>m(c+1)} />`;if(!i)return o`<${O} what="Recognising" />`;let v=i.entities.filter(({probability:p},y)=>u||!y||(p??1)>=It),d=i.entities.length-v.length;return o`<section class="recognition" aria-label="What it may show">
    ${i.note&&o`<p class="note">${i.note}</p>`}
    ${i.uncalibrated&&o`<p class="faint why">${i.uncalibrated}</p>`}
    <ol>${v.map(p=>o`<li key=${p.entity.id}>
      <div class="recognised">
        <a href=${A(["entity",p.entity.id])}>${p.entity.name}</a>
        <${J} value=${p.probability} />
        ${r&&o`<${Et} entity=${p.entity} verdicts=${r} />`}
      </div>
      ${p.entity.description&&o`<p class="faint">${p.entity.description}</p>`}
      ${p.evidence.length>0&&o`<div class="evidence" role="group" aria-label=${`Labelled ${p.entity.name}, and near`}>
        ${p.evidence.map(([y])=>o`<span key=${y.id} class="small-image">
          <${_} image=${y} /></span>`)}</div>`}
      ${p.siblings.length>0&&o`<p class="faint">or ${p.siblings.map((y,g)=>o`${g?", ":""}
        <a href=${A(["entity",y.id])} title=${y.description}>${y.name}</a>`)}</p>`}
    </li>`)}</ol>
    ${d>0&&o`<p><button class="link" onClick=${()=>$(!0)}>and ${d} below ${j(It)}</button></p>`}
    ${i.unnamed!==null&&o`<div class="recognised none">
      <span>none of what the labels name</span>
      <${J} value=${i.unnamed} />
    </div>`}
  </section>`}var Lt=.02,Pt=.04,G=(t,n,e)=>Math.min(e,Math.max(n,t)),te=t=>G(Number(t.toFixed(4)),0,1),ee=([t,n,e,r])=>`from ${j(t)} to ${j(e)} across, ${j(n)} to ${j(r)} down`;function Dt({region:t,onRegion:n,onDone:e}){let r=W(null),i=W(null),[s,a,l,c]=t??[.25,.25,.75,.75],m=d=>{let p=r.current.getBoundingClientRect();return[G((d.clientX-p.left)/p.width,0,1),G((d.clientY-p.top)/p.height,0,1)]},u=d=>{if(!i.current)return;let[p,y]=m(d),[g,k]=i.current,w=[Math.min(p,g),Math.min(y,k),Math.max(p,g),Math.max(y,k)];w[2]-w[0]>=Pt&&w[3]-w[1]>=Pt&&n(w.map(te))},$=d=>{let[p,y]={ArrowLeft:[-Lt,0],ArrowRight:[Lt,0],ArrowUp:[0,-Lt],ArrowDown:[0,Lt]}[d.key]??[];if(d.key==="Enter"&&(d.preventDefault(),e([s,a,l,c])),p===void 0)return;d.preventDefault();let g=d.shiftKey?[s,a,G(l+p,s+Pt,1),G(c+y,a+Pt,1)]:[s+G(p,-s,1-l),a+G(y,-a,1-c),l+G(p,-s,1-l),c+G(y,-a,1-c)];n(g.map(te)),F(ee(g))},v=()=>{i.current=null};return o`<div class="region-frame" ref=${r}
      onPointerDown=${d=>{d.preventDefault(),d.currentTarget.setPointerCapture(d.pointerId),i.current=m(d)}}
      onPointerMove=${u} onPointerUp=${v} onPointerCancel=${v}>
    <div class="region" role="application" tabindex="0" aria-roledescription="region"
      aria-label=${`Region ${ee([s,a,l,c])}. Arrow keys move it, Shift and arrow keys change its size, Enter searches.`}
      onKeyDown=${$}
      style=${{left:`${s*100}%`,top:`${a*100}%`,width:`${(l-s)*100}%`,height:`${(c-a)*100}%`}} />
  </div>`}var Nt=t=>t?.image??t;function ke(t,n){for(let e=0;e<t.total;e+=1)if(Nt(t.at(e))?.id===n)return e;return-1}function we(t,n){let e=Bt.value?.list,r=W({id:0,place:-1}),[i,s]=b(-1);e&&(r.current.id!==t||r.current.place<0)&&(r.current={id:t,place:ke(e,t)});let{place:a}=r.current,l=e&&a>=0?[a-1,a+1].filter($=>$>=0&&$<e.total):[],c=l.map($=>Nt(e.at($))?.id).join();C(()=>{l.some($=>!e.at($))&&e.look(Math.max(0,a-1),a+2);for(let $ of l)e.at($)&&(new Image().src=z(Nt(e.at($)).id))},[a,c]);let m=i>=0&&Nt(e?.at(i));return C(()=>{m&&(r.current={id:m.id,place:i},s(-1),n(m))},[m]),{step:$=>{l.includes(a+$)&&s(a+$)},place:a,total:e?.total??0,can:$=>l.includes(a+$)}}function mt({id:t,known:n,onClose:e,onSearch:r,onStep:i}){let[s,a]=b({id:0}),[l,c]=b(!1),{step:m,place:u,total:$,can:v}=we(t,i),d=W(u),p=W(-1),y=n??(s.id===t?s.image:null),g=s.id===t?s.error:null;C(()=>{n||I.image(t).then(f=>a({id:t,image:f}),f=>a({id:t,error:f}))},[t]),X(f=>{if(document.querySelector(".pswp"))return!1;if(f.key==="?")c(!l);else if(f.key==="ArrowLeft"||f.key==="ArrowRight")m(f.key==="ArrowLeft"?-1:1);else return!1;return!0},{inDialog:!0});let k=()=>{p.current=u>=0&&u!==d.current?u:-1,e()};C(()=>()=>{p.current>=0&&setTimeout(()=>Bt.value?.move(p.current))},[]);let w=(f,R,B)=>o`<button class="round" aria-label=${R} title=${R} disabled=${!v(f)}
    onClick=${()=>m(f)}><${M} name=${B} /></button>`,P=o`<div class="steps">
    ${u>=0&&o`${w(-1,"Previous image","left")}
      <span class="figure" role="status">${V(u+1)} of ${V($)}</span>${w(1,"Next image","right")}`}
    <button class="round wide-only" aria-label="Keys" title="Keys" aria-expanded=${l} onClick=${()=>c(!l)}><${M} name="keys" /></button></div>`;return o`<${wt} title=${y?H(y):"Image"} kind="wide" tools=${P} onClose=${k}>
    ${l&&o`<p class="keys"><kbd>←</kbd> previous <kbd>→</kbd> next <kbd>Tab</kbd> to labels and buttons
      <kbd>?</kbd> keys <kbd>Esc</kbd> close</p>`}
    ${g?o`<${D} error=${g} />`:y?o`<${ve} key=${t} image=${y} onSearch=${r} />`:o`<${O} />`}
  <//>`}function ve({image:t,onSearch:n}){let{id:e}=t,[r,i]=b(!1),[s,a]=b(null),[l,c]=b(!1),[m,u]=b(null),$=Xt(t);C(()=>{let p=!0;return I.reading(e).then(y=>p&&u(y),()=>{}),()=>{p=!1}},[]);let v=r?s??[.25,.25,.75,.75]:null,d=()=>n({image:e,weight:1,region:v});return o`<div class="detail">
    <div class="stage">
      <${rt} src=${z(e)} alt=${H(t)} width=${t.width} height=${t.height}>
        ${r&&o`<${Dt} region=${s} onRegion=${a} onDone=${d} />`}<//>
    </div>
    <div class="about">
      <div class="actions">
        <button class="button main" onClick=${d}><${M} name="search" />
          ${r?"Search with the region":"Search like this"}</button>
        <button class="button" onClick=${()=>i(!r)}>
          <${M} name="crop" />${r?"Whole image":"Select a region"}</button>
        <button class="button" onClick=${()=>Tt(t)}><${M} name="closer" />Look closely</button>
        <button class="button" aria-pressed=${l} onClick=${()=>c(!l)}>
          <${M} name="tag" />Recognise</button>
        <a class="button" href=${z(e)} download><${M} name="download" />Download</a>
      </div>
      ${r&&o`<p class="faint">Drag over the image, or move the frame with the arrow keys and change its size
        with Shift and the arrow keys.</p>`}
      ${l&&o`<${Rt} image=${e} region=${v} verdicts=${$} />`}
      <${Jt} image=${t} reading=${m} verdicts=${$} />
      ${t.text.trim()&&o`<${xe} image=${t} reading=${m} />`}
      <${Se} image=${t} />
    </div>
  </div>`}function xe({image:t,reading:n}){let e=new Set(n?.candidates.filter(({accepted:l})=>l).map(({mention:l})=>l)),r=n?.text===t.text?n.mentions:[],i=r.length?yt(t.text,r.map(({start:l,end:c},m)=>({start:l,end:c,kind:String(m)}))):bt(t.text,t.labels.filter(({accepted:l})=>l).map(({name:l})=>l)),s=({text:l,mark:c})=>{let{kind:m="",detector:u="",reason:$=""}=r[c]??{};return c?o`<mark class=${!r.length||e.has(Number(c))?"meant":"other"}
      title=${[m,u,$].filter(Boolean).join(" \xB7 ")}>${l}</mark>`:l},a=[...new Set(r.map(({kind:l})=>l).filter(Boolean))];return o`<section aria-label="Text"><h3>Text</h3>
    <blockquote class="caption" tabindex="0">${i.map(s)}</blockquote>
    ${a.length>0&&o`<p class="faint named-in">Names in ${a.join(", ")}</p>`}</section>`}function Se({image:t}){let n=Object.entries(t.columns).filter(([,e])=>e!==null&&e!=="");return o`<dl class="facts">
    ${t.width>0&&o`<dt>Size</dt><dd>${t.width} × ${t.height}</dd>`}
    <dt>File</dt><dd>${t.path||`${t.shard} \xB7 ${t.key}`}</dd>
    ${/^https?:\/\//.test(t.url)&&o`<dt>From</dt><dd><a href=${t.url} rel="noreferrer noopener" target="_blank">${t.url}</a></dd>`}
    ${n.map(([e,r])=>o`<dt>${e}</dt><dd>${String(r)}</dd>`)}
  </dl>`}function Ee({example:t,src:n,name:e,onClose:r,onRegion:i}){let[s,a]=b(t.region),[l,c]=b(!1),m=t.upload?n:z(t.image);return o`<${wt} title=${`Part of ${e}`} kind="wide" onClose=${r}>
    <div class="detail">
      <div class="stage">${m?o`<${rt} src=${m} alt=${e}>
          <${Dt} region=${s} onRegion=${a} onDone=${i} /><//>`:o`<p class="faint">This image was sent before the page was loaded; it is not kept here.</p>`}</div>
      <div class="about">
        <p class="faint">Drag over the image, or move the frame with the arrow keys and change its size with Shift and the
          arrow keys.</p>
        <div class="actions">
          <button class="button main" disabled=${!s} onClick=${()=>i(s)}>
            <${M} name="crop" />Search with the region</button>
          <button class="button" disabled=${!t.region} onClick=${()=>i(null)}>Whole image</button>
          <button class="button" aria-pressed=${l} onClick=${()=>c(!l)}>
            <${M} name="tag" />Recognise</button>
        </div>
        ${l&&o`<${Rt} image=${t.image} upload=${t.upload} region=${s} />`}
      </div>
    </div>
  <//>`}function zt({ids:t,picked:n=!1,onOpen:e}){let r=Mt(async(i,s,a)=>{let l=t.slice(i,i+s),c=new Map(l.length?(await I.images(l,a)).map(m=>[m.id,m]):[]);return{items:l.map(m=>c.get(m)??{id:m,key:"no longer in the index",text:"",labels:[]}),total:t.length}},"");return r.error?o`<${D} error=${r.error} retry=${()=>r.retry()} />`:r.total===null?o`<${O} />`:o`<${At} label="Chosen images" list=${r} picked=${n?t:[]}
    tile=${(i,s,a)=>o`<${Ct} image=${i} active=${a} onOpen=${()=>e(i)}>
      <p class="tile-label faint">${i.labels.find(l=>l.accepted)?.name}</p><//>`} />`}function Ut(t){let[n,e]=b(null),{params:r}=K.value,i=Number(r.get("show"))||0,s=c=>{let m=new URLSearchParams(K.value.params);return c?m.set("show",String(c)):m.delete("show"),A(t,m)},a=(c,m=null,u=!1)=>{e(m),U(s(c),u)},l=i>0&&o`<${mt} id=${i} known=${n?.id===i?n:null}
    onClose=${()=>kt(s(0))} onStep=${c=>a(c.id,c,!0)}
    onSearch=${c=>U(A(["search"],dt({...ut,examples:[c]})))} />`;return{open:a,detail:l}}function Ae(){let t=K.value.params.get("ids")??"",n=[...new Set(t.split(",").map(Number).filter(i=>Number.isInteger(i)&&i>0))],{open:e,detail:r}=Ut(["images"]);return o`<h1>${L(n.length,"image")}</h1>
    ${n.length?o`<${zt} key=${t} ids=${n} onOpen=${i=>e(i.id,i)} />`:o`<${N} title="The address names no image"><p><a href="#/search">Go to the search</a></p><//>`}
    ${r}`}var it=60,Ce=150;function _t({path:t,target:n,tail:e}){let{params:r}=K.value,i=r.get("prefix")??"",s=r.get("type")??"",[a,l]=b(null),[c,m]=b(!1),[u,$]=b(null),[v,d]=b(0),p=g=>{let k=Object.fromEntries(Object.entries({prefix:i,type:s,...g}).filter(([,w])=>w));U(A(t,k),!0)};C(()=>{let g=new AbortController,k=setTimeout(async()=>{try{let w=await I.entities({prefix:i,type:s,limit:it},g.signal);Z(w),l(w),m(w.length===it),$(null),(i||s)&&F(w.length===it?`${it} or more entities.`:L(w.length,"entity","entities"))}catch(w){w.name!=="AbortError"&&$(w)}},a?Ce:0);return()=>{clearTimeout(k),g.abort()}},[i,s,v]);let y=async()=>{try{let g=await I.entities({prefix:i,type:s,limit:it,offset:a.length});Z(g),l([...a,...g]),m(g.length===it)}catch(g){$(g)}};return o`
    <form class="entity-filters" role="search" onSubmit=${g=>g.preventDefault()}>
      <label class="field"><span>Name begins with</span><input type="text" value=${i} autocomplete="off"
        onInput=${g=>p({prefix:g.currentTarget.value})} /></label>
      <label class="field"><span>Type</span><input type="text" value=${s} autocomplete="off"
        onInput=${g=>p({type:g.currentTarget.value})} /></label>
    </form>
    ${u&&o`<${D} error=${u} retry=${()=>d(v+1)} />`}
    ${!a&&!u&&o`<${O} />`}
    ${a?.length===0&&(i||s?o`<${N} title="No entity is called so">
        <p>Write the beginning of its name, or leave the type open.</p><//>`:o`<${N} title="The index knows no entities">
        <p>Build it of labels, or with a knowledge base: openmofi index build IMAGES --kb KB --entities all.</p><//>`)}
    <ul class="entity-list">${a?.map(g=>o`<li key=${g.id}>
      <a class="entity-card" href=${n(g)}>
        <strong>${g.name}</strong>
        <span class="faint">${gt(g)}</span>
        <span class="figure">${e?e(g):L(g.images,"image")}</span>
      </a></li>`)}</ul>
    ${c&&o`<p class="center"><button class="button" onClick=${y}>Show more</button></p>`}`}function Me(){return o`<h1>Entities</h1>
    <${_t} path=${["entities"]} target=${t=>A(["entity",t.id])} />`}var Te=12,Ie=[["labels","Labels"],["candidates","Below the threshold"],["all","All"]],Re=[["sure","Surest first"],["doubt","Most doubtful first"]];function Le(){let{rest:[t=""],params:n}=K.value,[e,r]=b(null),[i,s]=b(null),[a,l]=b(null),[c,m]=b(0);return C(()=>{let u=!0;return I.entity(t).then($=>{u&&(Z([$]),r($))},$=>u&&l($)),I.similar(t).then($=>u&&s($),()=>{}),()=>{u=!1}},[t,c]),a?o`<h1 class="unseen">Entity</h1><${D} error=${a} retry=${()=>{l(null),m(c+1)}} />
    <p class="center"><a href="#/entities">All entities</a></p>`:e?o`
    <article class="entity">
      <header class="entity-head">
        <div>
          <h1>${e.name}</h1>
          ${e.description&&o`<p class="lead">${e.description}</p>`}
          <ul class="chips" aria-label="Types">
            ${e.types.filter(ct).map(u=>o`<li key=${u}><${Qt} href=${A(["entities"],{type:u})}>${ct(u)}<//></li>`)}
            <li><span class="faint">${e.id}</span></li>
          </ul>
          <${Pe} aliases=${e.aliases.filter(u=>u.toLowerCase()!==e.name.toLowerCase())} />
        </div>
        <div class="entity-side">
          <dl class="counts">
            <div><dt>named in</dt><dd>${V(e.named)} <span>${e.named===1?"text":"texts"}</span></dd></div>
            <div><dt>shown in</dt><dd>${V(e.images)} <span>${e.images===1?"image":"images"}</span></dd></div>
          </dl>
          <div class="actions">
            <a class="button main" href=${A(["search"],dt({...ut,entity:t}))}><${M} name="search" />Search for it</a>
            <a class="button" href=${A(["review","grid",t])}><${M} name="check" />Review its labels</a>
          </div>
        </div>
      </header>
      <${De} entity=${e} params=${n} />
      ${i?.length>0&&o`<section aria-labelledby="look-alikes"><h2 id="look-alikes">It may be mistaken for</h2>
        <ul class="entity-list">${i.map(u=>o`<li key=${u.id}>
          <a class="entity-card" href=${A(["entity",u.id])}><strong>${u.name}</strong>
            <span class="faint">${gt(u)}</span>
            <span class="figure">${L(u.images,"image")}</span></a></li>`)}</ul></section>`}
    </article>`:o`<${O} />`}function Pe({aliases:t}){let[n,e]=b(!1);if(!t.length)return null;let r=n?t:t.slice(0,Te);return o`<p class="aliases"><span class="faint">also</span> ${r.join(" \xB7 ")}
    ${t.length>r.length&&o` <button class="link" onClick=${()=>e(!0)}>and ${t.length-r.length} more</button>`}</p>`}function De({entity:t,params:n}){let e=n.get("show")??"labels",r=n.get("order")==="doubt"?"doubt":"sure",i=Number(n.get("image"))||0,[s,a]=b(null),l={labels:!0,candidates:!1}[e],c={labels:t.images,candidates:t.named-t.images}[e]??t.named,m=Mt(async(d,p,y)=>({items:await I.entityImages(t.id,{order:r,accepted:l,limit:p,offset:d},y),total:c}),`${t.id} ${e} ${r} ${c} ${vt.value}`),u=(d,p=!0)=>{let y=new URLSearchParams(n);Object.entries(d).forEach(([g,k])=>k?y.set(g,k):y.delete(g)),U(A(["entity",t.id],y),p)},$=()=>{let d=new URLSearchParams(n);d.delete("image"),kt(A(["entity",t.id],d))},v=(d,p,y,g,k)=>o`<fieldset class="levels"><legend class="unseen">${d}</legend>
    ${y.map(([w,P])=>o`<label key=${w}><input type="radio" name=${p} checked=${w===g}
      onChange=${()=>u({[p]:w===k?"":w})} /><span>${P}</span></label>`)}</fieldset>`;return o`<section aria-labelledby="images">
    <div class="results-head"><h2 id="images">Images</h2>
      ${v("Which images","show",Ie,e,"labels")}${v("Order","order",Re,r,"sure")}</div>
    ${m.error?o`<${D} error=${m.error} retry=${()=>m.retry()} />`:m.total===null?o`<${O} />`:m.total?o`<${At} label=${`Images of ${t.name}`} list=${m} entity=${t.id}
            tile=${(d,p,y)=>o`<${Ct} image=${d.image} active=${y} kind=${d.accepted?"":"beyond"}
              about=${`probability ${j(d.probability)}${d.verdict?`, judged ${Y[d.verdict]}`:""}`}
              onOpen=${()=>{a(d.image),u({image:String(d.image.id)},!1)}}>
              <div class="tile-row"><${J} value=${d.probability} />
                ${d.verdict&&o`<span class=${`said ${d.verdict}`}>${Y[d.verdict]}</span>`}</div><//>`} />`:o`<${N} title="No image here">
          <p>${e==="labels"?"No image is labelled with it.":"There is none of this kind."}</p><//>`}
    ${i>0&&o`<${mt} id=${i} known=${s?.id===i?s:null}
      onClose=${$} onStep=${d=>{a(d),u({image:String(d.id)})}}
      onSearch=${d=>U(A(["search"],dt({...ut,examples:[d]})))} />`}
  </section>`}var Wt={x:32767.5,y:32767.5,zoom:1},ne=t=>({...t,x:Uint16Array.from(t.x),y:Uint16Array.from(t.y),type:Uint8Array.from(t.type),area:Uint16Array.from(t.area)}),st=(t,{width:n,height:e})=>t.zoom*Math.max(1,Math.min(n,e)-32)/65535;function tt(t,n,e,r){let i=st(t,n);return[t.x+(e-n.width/2)/i,t.y+(r-n.height/2)/i]}var Ot=(t,n,e)=>Math.min(e,Math.max(n,t)),jt=({x:t,y:n,zoom:e})=>({x:Ot(t,0,65535),y:Ot(n,0,65535),zoom:Ot(e,1,200)});function pt(t,n,e,r=n.width/2,i=n.height/2){let[s,a]=tt(t,n,r,i),l=Ot(t.zoom*e,1,200),c=t.zoom/l;return jt({x:s+(t.x-s)*c,y:a+(t.y-a)*c,zoom:l})}function oe(t,n,e,r){let i=-1,s=r*r;for(let a=0;a<t.x.length;a+=1){let l=(t.x[a]-n)**2+(t.y[a]-e)**2;l<=s&&([i,s]=[a,l])}return i}function re(t,n){let e=[],r=n.map(([m])=>m),i=n.map(([,m])=>m),[s,a,l,c]=[Math.min(...r),Math.max(...r),Math.min(...i),Math.max(...i)];for(let m=0;m<t.x.length;m+=1){let u=t.x[m],$=t.y[m];if(u<s||u>a||$<l||$>c)continue;let v=!1;for(let d=0,p=n.length-1;d<n.length;p=d,d+=1)i[d]>$!=i[p]>$&&u<(r[p]-r[d])*($-i[d])/(i[p]-i[d])+r[d]&&(v=!v);v&&e.push(m)}return e}function ie(t,n){let[e,r]=tt(t,n,0,0),[i,s]=tt(t,n,n.width,n.height);return[[e,r],[i,r],[i,s],[e,s]]}function se(t){let n=Math.max(1,Math.ceil(t.length/60));return t.filter((e,r)=>r%n===0).map(e=>e.map(Math.round).join(",")).join(";")}function ae(t){let n=t.split(";").map(e=>e.split(",").map(Number));return n.length>=3&&n.every(e=>e.length===2&&e.every(Number.isFinite))?n:null}var Ne=.15,Ft=1.4,Oe=9,We=4;function je(t,n){let e=getComputedStyle(t),r=s=>e.getPropertyValue(s).trim(),i=r("--map-rest");return{points:[...Array.from({length:n},(s,a)=>r(`--map-${a+1}`)),i,i],accent:r("--accent"),ink:r("--ink")}}function Fe(t,n,e,{chosen:r,lasso:i,bright:s}){let a={width:t.clientWidth,height:t.clientHeight},l=devicePixelRatio||1;t.width=Math.round(a.width*l),t.height=Math.round(a.height*l);let c=t.getContext("2d"),{points:m,accent:u,ink:$}=je(t,n.types.length);c.setTransform(l,0,0,l,0,0);let v=st(e,a),d=(g,k)=>[(g-e.x)*v+a.width/2,(k-e.y)*v+a.height/2],p=Math.min(6,(n.x.length>2e4?1.2:n.x.length>2e3?1.8:3.2)*Math.sqrt(e.zoom)),y=m.length;for(let g=y-1;g>=0;g-=1){c.fillStyle=m[g];let k=g===y-1?p*.6:p;for(let w=0;w<n.x.length;w+=1){if(n.type[w]!==g)continue;let[P,f]=d(n.x[w],n.y[w]);P<-k||f<-k||P>a.width+k||f>a.height+k||(c.globalAlpha=r&&!r.has(w)||s!==null&&s!==g?.12:1,c.fillRect(P-k,f-k,k*2,k*2))}}c.globalAlpha=1,i?.length&&(c.beginPath(),i.forEach(([g,k],w)=>c[w?"lineTo":"moveTo"](...d(g,k))),c.closePath(),c.strokeStyle=$,c.lineWidth=4,c.stroke(),c.strokeStyle=u,c.lineWidth=2,c.stroke())}function le({plane:t,chosen:n,lasso:e,bright:r,onLasso:i,onOpen:s}){let a=W(null),[l,c]=b(Wt),[m,u]=b(!1),[$,v]=b(null),[d,p]=b(null),[y,g]=b(0),k=W(null),w=()=>({width:a.current.clientWidth,height:a.current.clientHeight});Gt(()=>{let S=requestAnimationFrame(()=>Fe(a.current,t,l,{chosen:n,lasso:$??e,bright:r}));return()=>cancelAnimationFrame(S)},[t,l,n,e,$,r,y]),C(()=>{let S=()=>g(q=>q+1),h=new ResizeObserver(S);h.observe(a.current);let x=matchMedia("(prefers-color-scheme: dark)");x.addEventListener("change",S);let E=q=>{q.preventDefault();let lt=a.current.getBoundingClientRect();c(fe=>pt(fe,w(),Math.exp(-q.deltaY/400),q.clientX-lt.left,q.clientY-lt.top))};a.current.addEventListener("wheel",E,{passive:!1});let T=a.current;return()=>{h.disconnect(),x.removeEventListener("change",S),T.removeEventListener("wheel",E)}},[]);let P=S=>{let h=a.current.getBoundingClientRect();return[S.clientX-h.left,S.clientY-h.top]},f=(S,h)=>oe(t,...tt(l,w(),S,h),Oe/st(l,w())),R=S=>{if(S.button)return;S.currentTarget.setPointerCapture(S.pointerId);let[h,x]=P(S);k.current={x:h,y:x,frame:l,path:m||S.shiftKey?[tt(l,w(),h,x)]:null},p(null)},B=S=>{let[h,x]=P(S),E=k.current;if(E)if(E.path)E.path.push(tt(l,w(),h,x)),v([...E.path]);else{let T=st(E.frame,w());c(jt({...E.frame,x:E.frame.x-(h-E.x)/T,y:E.frame.y-(x-E.y)/T}))}else{let T=S.pointerType==="mouse"?f(h,x):-1;p(T<0?null:{place:T,x:h,y:x})}},at=S=>{let h=k.current;if(k.current=null,v(null),!h)return;let[x,E]=P(S),T=Math.hypot(x-h.x,E-h.y)<We;h.path?.length>2?i(h.path):T&&!h.path&&f(x,E)>=0&&s(t.images[f(x,E)])},$t=()=>{k.current=null,v(null)},Kt=S=>{let h={ArrowLeft:[-1,0],ArrowRight:[1,0],ArrowUp:[0,-1],ArrowDown:[0,1]}[S.key],x=Ne*Math.min(w().width,w().height)/st(l,w());if(!(S.altKey||S.ctrlKey||S.metaKey)){if(h)c(jt({...l,x:l.x+h[0]*x,y:l.y+h[1]*x}));else if(S.key==="+"||S.key==="=")c(pt(l,w(),Ft));else if(S.key==="-")c(pt(l,w(),1/Ft));else if(S.key==="0"||S.key==="Home")c(Wt);else if(S.key==="Enter")i(ie(l,w()));else if(S.key==="Escape"&&k.current)$t();else return;S.preventDefault()}},et=(S,h,x)=>o`<button class="button" aria-label=${h} title=${h}
    onClick=${()=>{c(S?pt(l,w(),S):Wt),F(h)}}>${x}</button>`;return o`<div class="map-frame">
    <div class="map-tools" role="group" aria-label="Map">
      <button class="button" aria-pressed=${m} onClick=${()=>u(!m)}><${M} name="lasso" />Lasso</button>
      ${et(Ft,"Zoom in","+")}${et(1/Ft,"Zoom out","\u2212")}${et(0,"Show all","All")}
    </div>
    <canvas ref=${a} class=${m?"drawing":""} tabindex="0" role="application" aria-roledescription="map"
      data-zoom=${l.zoom.toFixed(2)} data-centre=${`${Math.round(l.x)},${Math.round(l.y)}`}
      aria-label="Map of the collection. Arrow keys move it, plus and minus zoom, 0 shows all, Enter chooses the images in view. Its areas are listed below."
      onPointerDown=${R} onPointerMove=${B} onPointerUp=${at} onPointerCancel=${$t}
      onPointerLeave=${()=>p(null)} onKeyDown=${Kt} />
    ${d&&o`<div class="map-near" style=${{left:`${d.x}px`,top:`${d.y}px`}}>
      <${_} key=${d.place} image=${{id:t.images[d.place]}} /></div>`}
  </div>`}function Ke(){let[t,n]=b(null),[e,r]=b(null),[i,s]=b(0);return C(()=>{let l=!0;return I.map().then(c=>l&&n(ne(c)),c=>l&&r(c)),()=>{l=!1}},[i]),o`<h1>Map</h1>${e?o`<${D} error=${e} retry=${()=>{r(null),s(i+1)}} />`:t?t.images.length?o`<${ze} plane=${t} />`:o`<${N} title="There is no map"><p>${t.note}</p><//>`:o`<${O} />`}`}function Be(t,n,e){return nt(()=>n?re(t,n):e===null?null:Array.from(t.area.keys()).filter(r=>t.area[r]===e),[t,n,e])}function ze({plane:t}){let{params:n}=K.value,[e,r]=b(null),{open:i,detail:s}=Ut(["map"]),a=n.get("lasso")??"",l=nt(()=>ae(a),[a]),c=n.has("area")?Number(n.get("area")):null,m=t.areas[c]?c:null,u=Be(t,l,m),$=nt(()=>u&&new Set(u),[u]),v=nt(()=>u?.map(p=>t.images[p]),[u]);C(()=>{u&&F(`${L(u.length,"image")} chosen.`)},[u]);let d=p=>{let y=new URLSearchParams(n);Object.entries(p).forEach(([g,k])=>k?y.set(g,k):y.delete(g)),U(A(["map"],y))};return o`
    <p class="lead">${L(t.images.length,"image")}; those that are alike lie near each other.${t.missing>0&&` ${L(t.missing,"image")} came since and are not on it: openmofi index map INDEX makes it anew.`}</p>
    <div class="map">
      <${le} plane=${t} chosen=${$} lasso=${l} bright=${e}
        onLasso=${p=>d({lasso:se(p),area:""})} onOpen=${i} />
      <div class="map-side">
        <${Ue} plane=${t} bright=${e} onBright=${r} />
        <${_e} plane=${t} area=${m} />
      </div>
    </div>
    ${v&&o`<${qe} key=${`${a} ${m}`} ids=${v}
      onOpen=${p=>i(p.id,p)} onNone=${()=>d({lasso:"",area:""})} />`}
    ${s}`}function Ue({plane:t,bright:n,onBright:e}){let r=[...t.types.map(({type:s})=>ct(s)||s),"other types","no label"],i=nt(()=>{let s=r.map(()=>0);return t.type.forEach(a=>{s[a]+=1}),s},[t]);return o`<section aria-labelledby="legend"><h2 id="legend">Types</h2>
    <ul class="legend">${r.map((s,a)=>i[a]>0&&o`<li key=${s}>
      <button type="button" aria-pressed=${n===a} title=${`Let ${s} stand out`}
        onClick=${()=>e(n===a?null:a)}>
        <span class=${`swatch ${a<t.types.length?`of-${a+1}`:a===t.types.length?"":"small"}`} />
        <span>${s}</span> <span class="figure">${V(i[a])}</span></button></li>`)}</ul></section>`}function _e({plane:t,area:n}){return o`<section aria-labelledby="areas"><h2 id="areas">Areas</h2>
    <ol class="areas">${t.areas.map(({images:e,entities:r,type:i},s)=>e>0&&o`<li key=${s}>
      <a href=${A(["map"],s===n?{}:{area:String(s)})} aria-current=${s===n?"true":void 0}>
        <span>${r.join(", ")||i||`Area ${s+1}`}</span> <span class="figure">${L(e,"image")}</span></a></li>`)}</ol>
  </section>`}function qe({ids:t,onOpen:n,onNone:e}){let r=W(null);return C(()=>{r.current.getBoundingClientRect().top>innerHeight-60&&r.current.scrollIntoView({block:"center"})},[]),o`<section aria-labelledby="chosen">
    <div class="results-head"><h2 id="chosen" ref=${r}>${L(t.length,"image")} chosen</h2>
      <button class="button" onClick=${e}>Choose none</button></div>
    ${t.length?o`<${zt} ids=${t} picked onOpen=${n} />`:o`<${N} title="No image lies here"><p>Draw around some points, or take an area.</p><//>`}
  </section>`}var ce=50,He=new Intl.DateTimeFormat("en",{dateStyle:"medium",timeStyle:"short"});function ue(){let t=Q.value,[n,e]=b(null),[r,i]=b(!1),[s,a]=b(null),l=async $=>{a(null);try{await $()}catch(v){a(v)}},c=$=>l(async()=>{let v=await I.history({who:t,limit:ce,offset:$.length});Q.value===t&&(e([...$,...v]),i(v.length===ce))});C(()=>{e(null),c([])},[t]);let m=$=>l(async()=>{await ot([$.verdict.id]),e(v=>v.filter(d=>d!==$)),F(`${$.entity.name}: taken back.`)}),u=s&&o`<${D} error=${s} retry=${()=>c(n??[])} />`;return n?o`${u}
    ${n.length===0&&o`<${N} title="No verdicts yet"><p>${t?`None is by ${t}.`:"None was given without a name. Write your name to see yours."}</p><//>`}
    <ol class="history" aria-label="Verdicts, latest first">${n.map($=>o`<${Ge} key=${$.verdict.id} row=${$} onUndo=${()=>m($)} />`)}</ol>
    ${r&&o`<p class="center"><button class="button" onClick=${()=>c(n)}>Show more</button></p>`}`:u||o`<${O} />`}function Ge({row:t,onUndo:n}){let{verdict:e,image:r,entity:i,instead:s}=t;return o`<li>
    <span class="small-image">${r&&o`<${_} image=${r} />`}</span>
    <div><p><span class=${`said ${e.verdict}`}>${Y[e.verdict]}</span> <a href=${A(["entity",i.id])}>${i.name}</a>${s&&o`, it is <a href=${A(["entity",s.id])}>${s.name}</a>`}</p>
      <p class="faint">${r?o`<a href=${A(["images"],{ids:r.id,show:r.id})}>${H(r)}</a>`:`${e.shard} \xB7 ${e.key}, no longer in the index`}
        ${" \xB7 "}<time datetime=${e.when}>${He.format(new Date(e.when))}</time></p></div>
    <button class="button small" aria-label=${`Take back: ${i.name} is ${Y[e.verdict]}`} onClick=${n}><${M} name="undo" />Undo</button></li>`}var Ve=150,qt=8,Ye=300;function Ze(){let t=(document.querySelector("main")?.clientWidth??innerWidth)-(innerWidth>760?48:32),n=Math.max(2,Math.floor((t+qt)/(Ve+qt)));return Math.min(60,n*Math.max(3,Math.floor((innerHeight-Ye)/(t/n))))}function de({entity:t,name:n}){let[e,r]=b(null),[i,s]=b({}),[a,l]=b(new Set),[c,m]=b([]),[u,$]=b(null),[v,d]=b(!1),[p,y]=b(0),g=W(null),k=W(null),w=async()=>{$(null);try{r(await I.review({entity:t,order:"doubt",accepted:!0,who:Q.value,limit:Ze()})),s({}),y(0)}catch(h){$(h)}};C(()=>{w()},[]);let P=async()=>{if(!(v||!e?.length)){if([...g.current.querySelectorAll("img")].some(h=>!h.complete)){F("Not all images are here yet.");return}d(!0),$(null);try{let h=await xt(e.map(({image:E})=>({image:E,entity:t,value:R(E)}))),x=e.filter(({image:E})=>i[E.id]==="n").length;F(`${L(e.length,"label")} judged, ${x} of them wrong.`),m([...c,{ids:h,page:e,values:i}]),await w(),g.current?.querySelector("button")?.focus()}catch(h){$(h)}finally{d(!1)}}},f=async()=>{let h=c.at(-1);if(!(v||!h)){d(!0);try{await ot(h.ids),m(c.slice(0,-1)),r(h.page),s(h.values),F("The last page was taken back.")}catch(x){$(x)}finally{d(!1)}}},R=h=>i[h.id]??(a.has(h.id)?"u":"y"),B=(h,x)=>{let E=e[h]?.image.id;E!==void 0&&s(T=>({...T,[E]:x}))},at=(h,x)=>{let{id:E}=e[h].image;s(T=>({...T,[E]:R({id:E})===x?"y":x}))};X(h=>{if(h.key==="z")return f(),!0;if(!e?.length)return!1;let x=Math.max(1,Math.round(g.current.clientWidth/(g.current.firstElementChild.offsetWidth+qt))),E={ArrowLeft:-1,ArrowRight:1,ArrowUp:-x,ArrowDown:x}[h.key],T=g.current.contains(document.activeElement),q=T||document.activeElement===document.body||document.activeElement?.id==="main";if(h.key==="Enter"&&q)!h.repeat&&P();else if(h.key==="n"||h.key==="x"||h.key===" "&&T)at(p,"n");else if(h.key==="u")at(p,"u");else if(h.key==="y")B(p,"y");else if(E&&q){let lt=Math.max(0,Math.min(e.length-1,p+E));y(lt),g.current.querySelectorAll("button")[lt].focus()}else return!1;return!0});let $t=(h,x)=>{if(h.pointerType==="touch"||h.button)return;let E=R(e[x].image)==="n"?"y":"n";k.current=E,B(x,E);let T=()=>{setTimeout(()=>{k.current=null}),removeEventListener("pointerup",T)};addEventListener("pointerup",T)},Kt=h=>{if(!k.current||!h.buttons)return;let x=document.elementFromPoint(h.clientX,h.clientY)?.closest("[data-place]")?.dataset.place;x!==void 0&&B(Number(x),k.current)},et=e?.filter(({image:h})=>R(h)!=="y").length??0,S=u&&o`<${D} error=${u} retry=${e?void 0:w} />`;return e?o`
    ${S}
    ${e.length===0?o`<${N} title="All of its labels are judged">
        <p><a href=${A(["entity",t])}>See the entity</a> or <a href="#/review">choose another</a>.</p><//>`:o`<p class="keys"><kbd>←</kbd><kbd>→</kbd><kbd>↑</kbd><kbd>↓</kbd> move <kbd>n</kbd> or <kbd>Space</kbd> wrong
          <kbd>u</kbd> unsure <kbd>Enter</kbd> take the page <kbd>z</kbd> undo; or click and drag over what is wrong</p>
        <div class="judge-grid" ref=${g} role="group" aria-label=${`Labels of ${n}, the most doubtful first`} onPointerMove=${Kt}>
          ${e.map(({image:h},x)=>{let E=R(h);return o`<button key=${h.id} type="button" class=${`judge ${E}`} data-place=${x}
                tabindex=${x===p?0:-1} aria-label=${`${H(h)}: ${Y[E]}`}
                onFocus=${()=>y(x)} onPointerDown=${T=>$t(T,x)}
                onKeyDown=${T=>{T.key==="Enter"&&T.preventDefault()}}
                onClick=${T=>{T.detail&&!k.current&&at(x,"n")}}>
              <${_} key=${h.id} image=${h} onGone=${()=>l(T=>new Set(T).add(h.id))} />
              <span class="mark"><${M} name=${{y:"check",n:"close",u:"question"}[E]} /></span>
            </button>`})}
        </div>`}
    <div class="judge-bar">
      <button class="button main" disabled=${v||!e.length} onClick=${P}>
        <${M} name="check" />Take the page: ${e.length-et} right, ${et} not</button>
      <button class="button" disabled=${v||!c.length} onClick=${f}><${M} name="undo" /><span class="undo">Undo</span></button>
      <p class="faint">${c.length>0&&`${L(c.reduce((h,x)=>h+x.page.length,0),"label")} judged`}</p>
    </div>`:S||o`<${O} />`}function me({entity:t}){let[n,e]=b(null);if(C(()=>{let c=!0;return I.precision(t).then(m=>c&&e(m),()=>{}),()=>{c=!1}},[vt.value,t]),!n?.judged)return null;let{precision:r,lower:i,upper:s,judged:a,labels:l}=n;return o`<p class="precision" role="note">
    <span class="interval" aria-hidden="true"><span class="range" style=${{left:`${i*100}%`,width:`${(s-i)*100}%`}} />
      <span class="point" style=${{left:`${r*100}%`}} /></span>
    <span>Precision of the labels <strong>${j(r)}</strong>${`, between ${j(i)} and ${j(s)} (95 % interval), by ${L(a,"verdict")} on ${L(l,"label")}`}</span></p>`}var Xe=20,Qe=9,pe={y:"yes",n:"no",u:"unsure"},Ht=({image:t,entity:n})=>`${t.id} ${n.id}`;function $e({entity:t}){let[n,e]=b(null),[r,i]=b([]),[s,a]=b(null),{current:l}=W(new Set),c=W(!1),m=async()=>{a(null);try{let k=await I.review({entity:t,order:"active",accepted:!0,who:Q.value,limit:Xe+l.size});e(k.filter(w=>!l.has(Ht(w))))}catch(k){a(k)}};C(()=>{m()},[]);let u=n?.[0],$=()=>(l.add(Ht(u)),v()),v=async()=>n.length>1?e(n.slice(1)):m(),d=async(k,w="",P="")=>{if(!(c.current||!u)){c.current=!0,a(null);try{let f=await xt([{image:u.image,entity:u.entity.id,value:k,instead:w}]);i([...r,{ids:f,item:u,value:k,name:P}]),F(`${P?`It is ${P}`:`You said ${pe[k]}`}.`),await v()}catch(f){a(f)}finally{c.current=!1}}},p=async()=>{let k=r.at(-1);if(!(c.current||!k)){c.current=!0;try{await ot(k.ids),i(r.slice(0,-1)),e([k.item,...n??[]]),F("The last verdict was taken back.")}catch(w){a(w)}finally{c.current=!1}}};X(k=>k.key!=="z"||k.repeat?!1:(p(),!0));let y=r.at(-1),g=s&&o`<${D} error=${s} retry=${n?void 0:m} />`;return o`${g}
    ${!n&&!s&&o`<${O} />`}
    ${n&&(u?o`<${Je} key=${Ht(u)} item=${u} onDecide=${d} onSkip=${$} />`:o`<${N} title="Everything is judged"><p>${t?"None of its labels is left.":"No label is left."}
          ${" "}<a href="#/review">Choose an entity</a></p><//>`)}
    <div class="judge-bar">
      <button class="button" disabled=${!y} onClick=${p}><${M} name="undo" /><span class="undo">Undo</span></button>
      <p class="faint" data-last>${y&&o`${y.item.entity.name}: you said ${pe[y.value]}${y.name&&`, it is ${y.name}`};
        the labels gave it ${j(y.item.probability)}. ${L(r.length,"label")} judged.`}</p>
    </div>`}function Je({item:t,onDecide:n,onSkip:e}){let{image:r,entity:i}=t,[s,a]=b(null),[l,c]=b(null),[m,u]=b(!1);C(()=>{let f=!0;return I.reading(r.id).then(R=>f&&c(R),()=>{}),I.recogniseImage(r.id).then(R=>f&&a(R.entities),()=>f&&a([])),()=>{f=!1}},[]);let $=s?.find(f=>f.entity.id===i.id)?.evidence??[],v=l?.candidates??[],d=new Set(v.filter(f=>f.entity===i.id).map(f=>f.mention)),p=[...new Set([...d].map(f=>l.mentions[f]?.kind).filter(Boolean))],y=new Map(v.map(f=>[f.entity,f.description])),g=new Map(v.filter(f=>d.has(f.mention)).map(f=>[f.entity,f.name]));r.labels.forEach(f=>g.set(f.entity,f.name)),s?.filter(f=>(f.probability??1)>=It).forEach(f=>{g.set(f.entity.id,f.entity.name),y.set(f.entity.id,f.entity.description)}),g.delete(i.id);let k=[i.name,...g.values()],w=l?.text===r.text&&d.size?yt(r.text,l.mentions.map(({start:f,end:R},B)=>({start:f,end:R,kind:d.has(B)?"meant":"other"}))):bt(r.text,[i.name,...i.aliases]),P=[...g].slice(0,Qe);return X(f=>{if(f.repeat)return!1;let R=P[Number(f.key)-1];if(["y","n","u"].includes(f.key))n(f.key);else if(f.key==="s")e();else if(f.key==="i")u(!0);else if(R)n("n",...R);else return!1;return!0}),o`<div class="single">
    <div class="stage"><button class="plain" aria-label="Look closely" onClick=${()=>Tt(r)}>
      <${rt} src=${z(r.id)} alt=${r.text?"":r.key} width=${r.width} height=${r.height} /></button></div>
    <div class="about">
      <h2 class="question">Does it show <a href=${A(["entity",i.id])}>${i.name}</a>?</h2>
      ${i.description&&o`<p class="lead">${i.description}</p>`}
      ${r.text&&o`<blockquote class="caption">${w.map(f=>f.mark?o`<mark class=${f.mark}>${f.text}</mark>`:f.text)}</blockquote>`}
      ${p.length>0&&o`<p class="faint named-in">Named in ${p.join(", ")}</p>`}
      <div class="verdicts" role="group" aria-label="Verdict">
        <button class="button yes" onClick=${()=>n("y")}><${M} name="check" />Yes <kbd>y</kbd></button>
        <button class="button no" onClick=${()=>n("n")}><${M} name="close" />No <kbd>n</kbd></button>
        <button class="button" onClick=${()=>n("u")}><${M} name="question" />Unsure <kbd>u</kbd></button>
        <button class="button" onClick=${e}>Skip <kbd>s</kbd></button>
      </div>
      <section aria-label="It is this instead"><h3>It is this instead</h3>
        <ul class="chips">${P.map(([f,R],B)=>o`<li key=${f}><span class="chip">
          <button type="button" class="chip-text" title=${y.get(f)} onClick=${()=>n("n",f,R)}><kbd>${B+1}</kbd> ${R}${k.indexOf(R)!==k.lastIndexOf(R)&&y.get(f)&&o` <span class="homonym">${y.get(f)}</span>`}</button></span></li>`)}
          ${!m&&o`<li key="another"><span class="chip"><button type="button" class="chip-text" onClick=${()=>u(!0)}>
            <kbd>i</kbd> Another</button></span></li>`}</ul>
        ${m&&o`<div class="instead"><${St} label="It is instead" placeholder="name of an entity" focused
          onEntity=${f=>n("n",f.id,f.name)} /></div>`}</section>
      ${$.length>0&&o`<section aria-label="Evidence"><h3>Near it, and labelled ${i.name}</h3>
        <div class="evidence">${$.map(([f,R])=>o`<span key=${f.id} class="small-image" title=${`similarity ${R.toFixed(2)}`}>
          <${_} image=${f} /></span>`)}</div></section>`}
    </div>
  </div>`}function tn(){let{rest:[t="",n=""]}=K.value;C(()=>ht(n),[n]);let e=ft.value[n]??n;if(Yt.value.has(n))return o`<h1 class="unseen">Review</h1><${N} title=${`The index has no entity ${n}`}>
    <p><a href="#/review">Choose another</a></p><//>`;if(t&&!["grid","single","history"].includes(t))return o`<h1 class="unseen">Review</h1><${N} title="There is no such view">
    <p><a href="#/review">Go to the review</a></p><//>`;let r=t==="grid"&&n;return o`
    <header class="review-head">
      <div>
        <h1>${r?e:t==="single"?n?e:"Single labels":t==="history"?"My verdicts":"Review"}</h1>
        ${t!=="single"&&o`<p class="lead">${r?"Everything here is taken as right. Mark what does not show it.":t==="history"?"What you said, latest first. Each can be taken back.":"Choose an entity to judge its labels by the page, or judge single labels, the most telling first."}</p>`}
      </div>
      <div class="review-tools">
        <${Zt} />
        ${t&&o`<nav aria-label="Ways to review" class="actions">
          ${r?o`<a class="button" href=${A(["review","single",n])}>One by one</a>`:n&&o`<a class="button" href=${A(["review","grid",n])}>As a grid</a>`}
          <a class="button" href="#/review">Other entities</a></nav>`}
      </div>
    </header>
    <${me} entity=${n} />
    ${r?o`<${de} key=${n} entity=${n} name=${e} />`:t==="history"?o`<${ue} />`:t==="single"?o`<${$e} key=${n} entity=${n} />`:o`<p class="actions"><a class="button main" href="#/review/single">Judge single labels</a>
            <a class="button" href="#/review/history">My verdicts</a>
            <a class="button" href="api/verdicts.parquet" download>Verdicts as Parquet</a></p>
          <h2>Entities</h2>
          <${_t} path=${["review"]} target=${i=>A(["review","grid",i.id])}
            tail=${i=>L(i.images,"label")} />`}`}export{mt as Detail,Me as Entities,Le as Entity,Ee as ExampleDialog,Ae as Images,Ke as MapView,tn as Review};
