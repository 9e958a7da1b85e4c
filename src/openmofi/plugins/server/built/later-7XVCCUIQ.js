import{$ as _t,A as Ct,B as et,C as Ot,D as Rt,E as V,G as R,H as J,I as Nt,J as I,K as H,M as _,N as W,O as F,P as It,Q as it,R as at,S as ke,T as ft,U as Lt,V as $t,W as Pt,X as Z,Y as ve,Z as Dt,_ as oe,aa as lt,b as w,ba as X,c as A,ca as jt,d as be,da as wt,e as j,ea as xe,f as At,fa as kt,ga as Ft,h as i,ha as Se,i as ge,ja as Ut,ka as Ee,l as O,m as ye,n as Q,q as pt,r as we,u as tt,v as Tt,w as z,x as L,y as G,z as st}from"./chunk-O4E73EZ4.js";async function Bt(t){let{default:e}=await import("./photoswipe.esm-5BWHUGVW.js"),{width:n,height:o}=t.width?t:{width:1600,height:1200};new e({dataSource:[{src:Q(t.id),msrc:ye(t),width:n,height:o,alt:et(t)}],appendToEl:document.querySelector("dialog[open]")??document.body,showHideAnimationType:"none",bgOpacity:.94,zoom:!0,arrowKeys:!1,maxZoomLevel:8,closeTitle:"Close",zoomTitle:"Zoom",errorMsg:"The image cannot be loaded."}).init()}var Je=3,tn={below_threshold:"below the threshold",sibling_preferred:"a similar entity is likelier",beyond_top_k:"other labels of this image are likelier"};function en(t,e,n){let o=new Map(t.labels.map(s=>[s.entity,{...s,candidate:null}]));for(let s of e?.candidates??[]){let a=o.get(s.entity)??{...s,candidate:null};o.set(s.entity,{...a,candidate:a.candidate??s})}for(let[s,a]of n)o.has(s)||o.set(s,{entity:s,name:pt.value[s]??s,probability:null,by:a.who});let r=s=>s.accepted||s.probability===null?1:0;return[...o.values()].sort((s,a)=>r(a)-r(s)||(a.probability??0)-(s.probability??0))}function nn(t,e){let{prior:n,link_score:o,image_score:r,reason:s}=t,a=e.mentions[t.mention],l=[n!==null&&`means this in ${G(n)} of its uses`,o!==null&&o>=0&&o<=1&&`${G(o)} with the rest of the text`].filter(Boolean).join(", "),u=e.candidates.filter(p=>p.image_score!==null),d=u.filter(p=>p.mention===t.mention),c=d.length>1?d:u,m=c.reduce((p,$)=>$.image_score>p.image_score?$:p,t),y=r!==null&&c.length>1&&(m.entity===t.entity?`of ${L(c.length,"candidate")} the image is closest to this one`:`the image is closer to ${m.name}`);return[a&&`\u201C${a.surface}\u201D${a.kind?` (${a.kind})`:""} ${l}`.trim(),y,tn[s]].filter(Boolean).join("; ")}function Me({image:t,reading:e,verdicts:n}){let[o,r]=w(!1),[s,a]=w(!1),l=en(t,e,n.said),u=l.filter((c,m)=>o||m<Je||c.accepted||n.said.has(c.entity));A(()=>{n.said.forEach((c,m)=>{l.some(y=>y.entity===m&&y.candidate)||Tt(m)})},[n.said]);let d=c=>{a(!1),tt([c]),n.give(c,"y",!1)};return i`<section aria-label="Labels"><h3>Labels</h3>
    ${n.error&&i`<${_} error=${n.error} />`}
    <ul class="label-list">${u.map(c=>i`<li key=${c.entity} class=${c.accepted||c.probability===null?"":"candidate"}>
      <div class="recognised"><a href=${R(["entity",c.entity])} title=${c.description}>${c.name}</a>
        ${c.probability===null?i`<span class="faint">${c.by?`said by ${c.by}`:"said by a person"}</span>`:i`<${lt} value=${c.probability} />`}
        <${Dt} entity=${{id:c.entity,name:c.name}} verdicts=${n} /></div>
      ${c.candidate&&i`<p class="faint">${nn(c.candidate,e)}</p>`}</li>`)}</ul>
    ${!l.length&&i`<p class="faint">It has none.</p>`}
    <p class="actions">
      ${l.length>u.length&&i`<button class="link" onClick=${()=>r(!0)}>and ${L(l.length-u.length,"candidate")} more</button>`}
      ${!s&&i`<button class="button small" onClick=${()=>a(!0)}><${I} name="plus" />Add a label</button>`}</p>
    ${s&&i`<${Pt} label="It also shows" placeholder="name of an entity" focused onEntity=${d} />`}
  </section>`}function ht({src:t,alt:e,width:n=0,height:o=0,children:r}){let[s,a]=w(o?n/o:0),[l,u]=w(!1);return l?i`<p class="faint">The image cannot be shown. It may have been moved, or is of a kind that browsers do not show.</p>`:i`<div class="large" style=${s?{"--ratio":String(s)}:{}}>
    <img src=${t} alt=${e} draggable=${!1} onError=${()=>u(!0)}
      onLoad=${d=>a(d.currentTarget.naturalWidth/d.currentTarget.naturalHeight)} />
    ${r}
  </div>`}var Wt=.01;function Kt({image:t,upload:e,region:n,verdicts:o}){let[r,s]=w(null),[a,l]=w(null),[u,d]=w(0),[c,m]=w(!1);if(A(()=>{let $=!0;return s(null),l(null),(t===void 0?O.recogniseUpload(e,n):O.recogniseImage(t,n)).then(b=>$&&s(b),b=>$&&l(b)),()=>{$=!1}},[t,e,n?.join(),u]),a)return i`<${_} error=${a} retry=${()=>d(u+1)} />`;if(!r)return i`<${F} what="Recognising" />`;let y=r.entities.filter(({probability:$},b)=>c||!b||($??1)>=Wt),p=r.entities.length-y.length;return i`<section class="recognition" aria-label="What it may show">
    ${r.note&&i`<p class="note">${r.note}</p>`}
    ${r.uncalibrated&&i`<p class="faint why">${r.uncalibrated}</p>`}
    <ol>${y.map($=>i`<li key=${$.entity.id}>
      <div class="recognised">
        <a href=${R(["entity",$.entity.id])}>${$.entity.name}</a>
        <${lt} value=${$.probability} />
        ${o&&i`<${Dt} entity=${$.entity} verdicts=${o} />`}
      </div>
      ${$.entity.description&&i`<p class="faint">${$.entity.description}</p>`}
      ${$.evidence.length>0&&i`<div class="evidence" role="group" aria-label=${`Labelled ${$.entity.name}, and near`}>
        ${$.evidence.map(([b])=>i`<span key=${b.id} class="small-image">
          <${X} image=${b} /></span>`)}</div>`}
      ${$.siblings.length>0&&i`<p class="faint">or ${$.siblings.map((b,f)=>i`${f?", ":""}
        <a href=${R(["entity",b.id])} title=${b.description}>${b.name}</a>`)}</p>`}
    </li>`)}</ol>
    ${p>0&&i`<p><button class="link" onClick=${()=>m(!0)}>and ${p} below ${G(Wt)}</button></p>`}
    ${r.unnamed!==null&&i`<div class="recognised none">
      <span>none of what the labels name</span>
      <${lt} value=${r.unnamed} />
    </div>`}
  </section>`}var Gt=.02,Ht=.04,nt=(t,e,n)=>Math.min(n,Math.max(e,t)),Ae=t=>nt(Number(t.toFixed(4)),0,1),Te=([t,e,n,o])=>`from ${G(t)} to ${G(n)} across, ${G(e)} to ${G(o)} down`;function qt({region:t,onRegion:e,onDone:n}){let o=j(null),r=j(null),[s,a,l,u]=t??[.25,.25,.75,.75],d=p=>{let $=o.current.getBoundingClientRect();return[nt((p.clientX-$.left)/$.width,0,1),nt((p.clientY-$.top)/$.height,0,1)]},c=p=>{if(!r.current)return;let[$,b]=d(p),[f,g]=r.current,k=[Math.min($,f),Math.min(b,g),Math.max($,f),Math.max(b,g)];k[2]-k[0]>=Ht&&k[3]-k[1]>=Ht&&e(k.map(Ae))},m=p=>{let[$,b]={ArrowLeft:[-Gt,0],ArrowRight:[Gt,0],ArrowUp:[0,-Gt],ArrowDown:[0,Gt]}[p.key]??[];if(p.key==="Enter"&&(p.preventDefault(),n([s,a,l,u])),$===void 0)return;p.preventDefault();let f=p.shiftKey?[s,a,nt(l+$,s+Ht,1),nt(u+b,a+Ht,1)]:[s+nt($,-s,1-l),a+nt(b,-a,1-u),l+nt($,-s,1-l),u+nt(b,-a,1-u)];e(f.map(Ae)),H(Te(f))},y=()=>{r.current=null};return i`<div class="region-frame" ref=${o}
      onPointerDown=${p=>{p.preventDefault(),p.currentTarget.setPointerCapture(p.pointerId),r.current=d(p)}}
      onPointerMove=${c} onPointerUp=${y} onPointerCancel=${y}>
    <div class="region" role="application" tabindex="0" aria-roledescription="region"
      aria-label=${`Region ${Te([s,a,l,u])}. Arrow keys move it, Shift and arrow keys change its size, Enter searches.`}
      onKeyDown=${m}
      style=${{left:`${s*100}%`,top:`${a*100}%`,width:`${(l-s)*100}%`,height:`${(u-a)*100}%`}} />
  </div>`}var Vt=t=>t?.image??t;function on(t,e){for(let n=0;n<t.total;n+=1)if(Vt(t.at(n))?.id===e)return n;return-1}function rn(t,e){let n=oe.value?.list,o=j({id:0,place:-1}),[r,s]=w(-1);n&&(o.current.id!==t||o.current.place<0)&&(o.current={id:t,place:on(n,t)});let{place:a}=o.current,l=n&&a>=0?[a-1,a+1].filter(m=>m>=0&&m<n.total):[],u=l.map(m=>Vt(n.at(m))?.id).join();A(()=>{l.some(m=>!n.at(m))&&n.look(Math.max(0,a-1),a+2);for(let m of l)n.at(m)&&(new Image().src=Q(Vt(n.at(m)).id))},[a,u]);let d=r>=0&&Vt(n?.at(r));return A(()=>{d&&(o.current={id:d.id,place:r},s(-1),e(d))},[d]),{step:m=>{l.includes(a+m)&&s(a+m)},place:a,total:n?.total??0,can:m=>l.includes(a+m)}}function vt({id:t,known:e,onClose:n,onSearch:o,onStep:r}){let[s,a]=w({id:0}),[l,u]=w(!1),{step:d,place:c,total:m,can:y}=rn(t,r),p=j(c),$=j(-1),b=e??(s.id===t?s.image:null),f=s.id===t?s.error:null;A(()=>{e||O.image(t).then(h=>a({id:t,image:h}),h=>a({id:t,error:h}))},[t]),it(h=>{if(document.querySelector(".pswp"))return!1;if(h.key==="?")u(!l);else if(h.key==="ArrowLeft"||h.key==="ArrowRight")d(h.key==="ArrowLeft"?-1:1);else return!1;return!0},{inDialog:!0});let g=()=>{$.current=c>=0&&c!==p.current?c:-1,n()};A(()=>()=>{$.current>=0&&setTimeout(()=>oe.value?.move($.current))},[]);let k=(h,E,K)=>i`<button class="round" aria-label=${E} title=${E} disabled=${!y(h)}
    onClick=${()=>d(h)}><${I} name=${K} /></button>`,M=i`<div class="steps">
    ${c>=0&&i`${k(-1,"Previous image","left")}
      <span class="figure" role="status">${z(c+1)} of ${z(m)}</span>${k(1,"Next image","right")}`}
    <button class="round wide-only" aria-label="Keys" title="Keys" aria-expanded=${l} onClick=${()=>u(!l)}><${I} name="keys" /></button></div>`;return i`<${It} title=${b?et(b):"Image"} kind="wide" tools=${M} onClose=${g}>
    ${l&&i`<p class="keys"><kbd>←</kbd> previous <kbd>→</kbd> next <kbd>Tab</kbd> to labels and buttons
      <kbd>?</kbd> keys <kbd>Esc</kbd> close</p>`}
    ${f?i`<${_} error=${f} />`:b?i`<${sn} key=${t} image=${b} onSearch=${o} />`:i`<${F} />`}
  <//>`}function sn({image:t,onSearch:e}){let{id:n}=t,[o,r]=w(!1),[s,a]=w(null),[l,u]=w(!1),[d,c]=w(null),m=ve(t);A(()=>{let $=!0;return O.reading(n).then(b=>$&&c(b),()=>{}),()=>{$=!1}},[]);let y=o?s??[.25,.25,.75,.75]:null,p=()=>e({image:n,weight:1,region:y});return i`<div class="detail">
    <div class="stage">
      <${ht} src=${Q(n)} alt=${et(t)} width=${t.width} height=${t.height}>
        ${o&&i`<${qt} region=${s} onRegion=${a} onDone=${p} />`}<//>
    </div>
    <div class="about">
      <div class="actions">
        <button class="button main" onClick=${p}><${I} name="search" />
          ${o?"Search with the region":"Search like this"}</button>
        <button class="button" onClick=${()=>r(!o)}>
          <${I} name="crop" />${o?"Whole image":"Select a region"}</button>
        <button class="button" onClick=${()=>Bt(t)}><${I} name="closer" />Look closely</button>
        <button class="button" aria-pressed=${l} onClick=${()=>u(!l)}>
          <${I} name="tag" />Recognise</button>
        <a class="button" href=${Q(n)} download><${I} name="download" />Download</a>
      </div>
      ${o&&i`<p class="faint">Drag over the image, or move the frame with the arrow keys and change its size
        with Shift and the arrow keys.</p>`}
      ${l&&i`<${Kt} image=${n} region=${y} verdicts=${m} />`}
      <${Me} image=${t} reading=${d} verdicts=${m} />
      ${t.text.trim()&&i`<${an} image=${t} reading=${d} />`}
      <${ln} image=${t} />
    </div>
  </div>`}function an({image:t,reading:e}){let n=new Set(e?.candidates.filter(({accepted:l})=>l).map(({mention:l})=>l)),o=e?.text===t.text?e.mentions:[],r=o.length?Rt(t.text,o.map(({start:l,end:u},d)=>({start:l,end:u,kind:String(d)}))):Ot(t.text,t.labels.filter(({accepted:l})=>l).map(({name:l})=>l)),s=({text:l,mark:u})=>{let{kind:d="",detector:c="",reason:m=""}=o[u]??{};return u?i`<mark class=${!o.length||n.has(Number(u))?"meant":"other"}
      title=${[d,c,m].filter(Boolean).join(" \xB7 ")}>${l}</mark>`:l},a=[...new Set(o.map(({kind:l})=>l).filter(Boolean))];return i`<section aria-label="Text"><h3>Text</h3>
    <blockquote class="caption" tabindex="0">${r.map(s)}</blockquote>
    ${a.length>0&&i`<p class="faint named-in">Names in ${a.join(", ")}</p>`}</section>`}function ln({image:t}){let e=Object.entries(t.columns).filter(([,n])=>n!==null&&n!=="");return i`<dl class="facts">
    ${t.width>0&&i`<dt>Size</dt><dd>${t.width} × ${t.height}</dd>`}
    <dt>File</dt><dd>${t.path||`${t.shard} \xB7 ${t.key}`}</dd>
    ${/^https?:\/\//.test(t.url)&&i`<dt>From</dt><dd><a href=${t.url} rel="noreferrer noopener" target="_blank">${t.url}</a></dd>`}
    ${e.map(([n,o])=>i`<dt>${n}</dt><dd>${String(o)}</dd>`)}
  </dl>`}function cn({example:t,src:e,name:n,onClose:o,onRegion:r}){let[s,a]=w(t.region),[l,u]=w(!1),d=t.upload?e:Q(t.image);return i`<${It} title=${`Part of ${n}`} kind="wide" onClose=${o}>
    <div class="detail">
      <div class="stage">${d?i`<${ht} src=${d} alt=${n}>
          <${qt} region=${s} onRegion=${a} onDone=${r} /><//>`:i`<p class="faint">This image was sent before the page was loaded; it is not kept here.</p>`}</div>
      <div class="about">
        <p class="faint">Drag over the image, or move the frame with the arrow keys and change its size with Shift and the
          arrow keys.</p>
        <div class="actions">
          <button class="button main" disabled=${!s} onClick=${()=>r(s)}>
            <${I} name="crop" />Search with the region</button>
          <button class="button" disabled=${!t.region} onClick=${()=>r(null)}>Whole image</button>
          <button class="button" aria-pressed=${l} onClick=${()=>u(!l)}>
            <${I} name="tag" />Recognise</button>
        </div>
        ${l&&i`<${Kt} image=${t.image} upload=${t.upload} region=${s} />`}
      </div>
    </div>
  <//>`}var un=6,dn=new Set(["date","licence","license"]),mn=new Intl.DateTimeFormat("en",{month:"long",year:"numeric",timeZone:"UTC"}),pn={type:({value:t,name:e})=>e===t?st(t):e,verdict:({value:t})=>Z[t],folder:({value:t})=>t.split("/").pop(),date:({value:t})=>t.length>4?mn.format(new Date(`${t}-01`)):t};function fn(t){let[e,n]=t.split("-").map(Number);return[new Date(Date.UTC(e,n?n-1:0)),new Date(Date.UTC(e,n||12,0))].map(o=>o.toISOString().slice(0,10))}function $n({query:t,columns:e,onFilters:n}){let[o,r]=w(null),[s,a]=w(null),{filters:l}=t,u={...Ft(t),order:""};A(()=>{let f=new AbortController;return a(null),O.facets(u,f.signal).then(g=>{tt((g.values.entity??[]).map(({value:k,name:M})=>({id:k,name:M}))),r(g)},g=>{g.name!=="AbortError"&&a(g)}),()=>f.abort()},[JSON.stringify(u),ft.value]);let d=f=>n({...l,...f}),c=(f,g,k={})=>i`<label class="field"><span>${g}</span>
    <input type="text" value=${l[f]??""} ...${k}
      onChange=${M=>d({[f]:M.currentTarget.value.trim()})} /></label>`,m=f=>(o?.values[f]??[]).map(g=>({...g,name:(pn[f]??(()=>g.name))(g)})).filter(g=>g.name),y=(f,g=k=>({[f]:k}))=>i`<ul class="facet-values">
    ${m(f).map(({value:k,name:M,images:h})=>i`<li key=${k}>
      <button type="button" class="facet-value" title=${k} onClick=${()=>d(g(k))}><span>${M}</span>
        <span class="figure">${z(h)}<span class="unseen"> images</span></span></button></li>`)}</ul>`,p=(f,g,k)=>(l[f]||m(f).length>0)&&i`<section><h2>${g}</h2>
    ${l[f]?i`<button type="button" class="facet-value" aria-pressed="true" onClick=${()=>d({[f]:""})}>
        <span>${k}</span><${I} name="close" /></button>`:y(f)}</section>`,$=Number(l.min_probability??0),b=new Map(m("min_probability").map(({value:f,images:g})=>[Number(f),g]));return i`<div id="filters" class="rail" role="group" aria-label="Filters">
    ${s&&i`<${_} error=${s} />`}
    ${o?i`<p class="faint">${o.ranked?"The best ":""}${L(o.images,"image")}, near-duplicates counted too</p>`:!s&&i`<${F} what="Counting" />`}
    ${p("type","Type",st(l.type??"")||l.type)}
    ${p("entity","Entity",pt.value[l.entity]??l.entity)}
    <section><label class="field"><span>Label probability at least</span>
      <select value=${String($)} onChange=${f=>d({min_probability:f.currentTarget.value})}>
        ${[0,.5,.8,.9,.95].map(f=>i`<option value=${String(f)} selected=${f===$}>
          ${f?`${Math.round(f*100)} %`:"any"}${b.has(f)?` \xB7 ${z(b.get(f))}`:""}</option>`)}
      </select></label></section>
    ${p("verdict","People said of a label",Z[l.verdict])}
    <section>${c("folder","Folder",{placeholder:"/photos/2024"})}${y("folder")}</section>
    ${e.includes("date")&&i`<section>${c("since","From day",{type:"date"})}${c("until","To day",{type:"date"})}
      ${y("date",f=>{let[g,k]=fn(f);return{since:g,until:k}})}</section>`}
    ${e.some(f=>f==="licence"||f==="license")&&i`<section>
      ${c("licence","Licence",{placeholder:"cc-by*"})}${y("licence")}</section>`}
    ${e.filter(f=>!dn.has(f)).slice(0,un).map(f=>i`<section key=${f}>
      ${c(`column.${f}`,f)}${y(`column.${f}`)}</section>`)}
  </div>`}function re({ids:t,picked:e=!1,onOpen:n}){let o=Ut(async(r,s,a)=>{let l=t.slice(r,r+s),u=new Map(l.length?(await O.images(l,a)).map(d=>[d.id,d]):[]);return{items:l.map(d=>u.get(d)??{id:d,key:"no longer in the index",text:"",labels:[]}),total:t.length}},"");return o.error?i`<${_} error=${o.error} retry=${()=>o.retry()} />`:o.total===null?i`<${F} />`:i`<${_t} label="Chosen images" list=${o} picked=${e?t:[]}
    tile=${(r,s,a)=>i`<${jt} image=${r} active=${a} onOpen=${()=>n(r)}>
      <p class="tile-label faint">${r.labels.find(l=>l.accepted)?.name}</p><//>`} />`}function se(t){let[e,n]=w(null),{params:o}=V.value,r=Number(o.get("show"))||0,s=u=>{let d=new URLSearchParams(V.value.params);return u?d.set("show",String(u)):d.delete("show"),R(t,d)},a=(u,d=null,c=!1)=>{n(d),J(s(u),c)},l=r>0&&i`<${vt} id=${r} known=${e?.id===r?e:null}
    onClose=${()=>Nt(s(0))} onStep=${u=>a(u.id,u,!0)}
    onSearch=${u=>J(R(["search"],kt({...wt,examples:[u]})))} />`;return{open:a,detail:l}}function hn(){let t=V.value.params.get("ids")??"",e=[...new Set(t.split(",").map(Number).filter(r=>Number.isInteger(r)&&r>0))],{open:n,detail:o}=se(["images"]);return i`<h1>${L(e.length,"image")}</h1>
    ${e.length?i`<${re} key=${t} ids=${e} onOpen=${r=>n(r.id,r)} />`:i`<${W} title="The address names no image"><p><a href="#/search">Go to the search</a></p><//>`}
    ${o}`}var bt=60,bn=150;function ie({path:t,target:e,tail:n}){let{params:o}=V.value,r=o.get("prefix")??"",s=o.get("type")??"",[a,l]=w(null),[u,d]=w(!1),[c,m]=w(null),[y,p]=w(0),$=f=>{let g=Object.fromEntries(Object.entries({prefix:r,type:s,...f}).filter(([,k])=>k));J(R(t,g),!0)};A(()=>{let f=new AbortController,g=setTimeout(async()=>{try{let k=await O.entities({prefix:r,type:s,limit:bt},f.signal);tt(k),l(k),d(k.length===bt),m(null),(r||s)&&H(k.length===bt?`${bt} or more entities.`:L(k.length,"entity","entities"))}catch(k){k.name!=="AbortError"&&m(k)}},a?bn:0);return()=>{clearTimeout(g),f.abort()}},[r,s,y]);let b=async()=>{try{let f=await O.entities({prefix:r,type:s,limit:bt,offset:a.length});tt(f),l([...a,...f]),d(f.length===bt)}catch(f){m(f)}};return i`
    <form class="entity-filters" role="search" onSubmit=${f=>f.preventDefault()}>
      <label class="field"><span>Name begins with</span><input type="text" value=${r} autocomplete="off"
        onInput=${f=>$({prefix:f.currentTarget.value})} /></label>
      <label class="field"><span>Type</span><input type="text" value=${s} autocomplete="off"
        onInput=${f=>$({type:f.currentTarget.value})} /></label>
    </form>
    ${c&&i`<${_} error=${c} retry=${()=>p(y+1)} />`}
    ${!a&&!c&&i`<${F} />`}
    ${a?.length===0&&(r||s?i`<${W} title="No entity is called so">
        <p>Write the beginning of its name, or leave the type open.</p><//>`:i`<${W} title="The index knows no entities">
        <p>Build it of labels, or with a knowledge base: openmofi index build IMAGES --kb KB --entities all.</p><//>`)}
    <ul class="entity-list">${a?.map(f=>i`<li key=${f.id}>
      <a class="entity-card" href=${e(f)}>
        <strong>${f.name}</strong>
        <span class="faint">${Ct(f)}</span>
        <span class="figure">${n?n(f):L(f.images,"image")}</span>
      </a></li>`)}</ul>
    ${u&&i`<p class="center"><button class="button" onClick=${b}>Show more</button></p>`}`}function gn(){return i`<h1>Entities</h1>
    <${ie} path=${["entities"]} target=${t=>R(["entity",t.id])} />`}var yn=12,wn=[["labels","Labels"],["candidates","Below the threshold"],["all","All"]],kn=[["sure","Surest first"],["doubt","Most doubtful first"]];function vn(){let{rest:[t=""],params:e}=V.value,[n,o]=w(null),[r,s]=w(null),[a,l]=w(null),[u,d]=w(0);return A(()=>{let c=!0;return O.entity(t).then(m=>{c&&(tt([m]),o(m))},m=>c&&l(m)),O.similar(t).then(m=>c&&s(m),()=>{}),()=>{c=!1}},[t,u]),a?i`<h1 class="unseen">Entity</h1><${_} error=${a} retry=${()=>{l(null),d(u+1)}} />
    <p class="center"><a href="#/entities">All entities</a></p>`:n?i`
    <article class="entity">
      <header class="entity-head">
        <div>
          <h1>${n.name}</h1>
          ${n.description&&i`<p class="lead">${n.description}</p>`}
          <ul class="chips" aria-label="Types">
            ${n.types.filter(st).map(c=>i`<li key=${c}><${Ee} href=${R(["entities"],{type:c})}>${st(c)}<//></li>`)}
            <li><span class="faint">${n.id}</span></li>
          </ul>
          <${xn} aliases=${n.aliases.filter(c=>c.toLowerCase()!==n.name.toLowerCase())} />
        </div>
        <div class="entity-side">
          <dl class="counts">
            <div><dt>named in</dt><dd>${z(n.named)} <span>${n.named===1?"text":"texts"}</span></dd></div>
            <div><dt>shown in</dt><dd>${z(n.images)} <span>${n.images===1?"image":"images"}</span></dd></div>
          </dl>
          <div class="actions">
            <a class="button main" href=${R(["search"],kt({...wt,entity:t}))}><${I} name="search" />Search for it</a>
            <a class="button" href=${R(["review","grid",t])}><${I} name="check" />Review its labels</a>
          </div>
        </div>
      </header>
      <${Sn} entity=${n} params=${e} />
      ${r?.length>0&&i`<section aria-labelledby="look-alikes"><h2 id="look-alikes">It may be mistaken for</h2>
        <ul class="entity-list">${r.map(c=>i`<li key=${c.id}>
          <a class="entity-card" href=${R(["entity",c.id])}><strong>${c.name}</strong>
            <span class="faint">${Ct(c)}</span>
            <span class="figure">${L(c.images,"image")}</span></a></li>`)}</ul></section>`}
    </article>`:i`<${F} />`}function xn({aliases:t}){let[e,n]=w(!1);if(!t.length)return null;let o=e?t:t.slice(0,yn);return i`<p class="aliases"><span class="faint">also</span> ${o.join(" \xB7 ")}
    ${t.length>o.length&&i` <button class="link" onClick=${()=>n(!0)}>and ${t.length-o.length} more</button>`}</p>`}function Sn({entity:t,params:e}){let n=e.get("show")??"labels",o=e.get("order")==="doubt"?"doubt":"sure",r=Number(e.get("image"))||0,[s,a]=w(null),l={labels:!0,candidates:!1}[n],u={labels:t.images,candidates:t.named-t.images}[n]??t.named,d=Ut(async(p,$,b)=>({items:await O.entityImages(t.id,{order:o,accepted:l,limit:$,offset:p},b),total:u}),`${t.id} ${n} ${o} ${u} ${ft.value}`),c=(p,$=!0)=>{let b=new URLSearchParams(e);Object.entries(p).forEach(([f,g])=>g?b.set(f,g):b.delete(f)),J(R(["entity",t.id],b),$)},m=()=>{let p=new URLSearchParams(e);p.delete("image"),Nt(R(["entity",t.id],p))},y=(p,$,b,f,g)=>i`<fieldset class="levels"><legend class="unseen">${p}</legend>
    ${b.map(([k,M])=>i`<label key=${k}><input type="radio" name=${$} checked=${k===f}
      onChange=${()=>c({[$]:k===g?"":k})} /><span>${M}</span></label>`)}</fieldset>`;return i`<section aria-labelledby="images">
    <div class="results-head"><h2 id="images">Images</h2>
      ${y("Which images","show",wn,n,"labels")}${y("Order","order",kn,o,"sure")}</div>
    ${d.error?i`<${_} error=${d.error} retry=${()=>d.retry()} />`:d.total===null?i`<${F} />`:d.total?i`<${_t} label=${`Images of ${t.name}`} list=${d} entity=${t.id}
            tile=${(p,$,b)=>i`<${jt} image=${p.image} active=${b} kind=${p.accepted?"":"beyond"}
              about=${`probability ${G(p.probability)}${p.verdict?`, judged ${Z[p.verdict]}`:""}`}
              onOpen=${()=>{a(p.image),c({image:String(p.image.id)},!1)}}>
              <div class="tile-row"><${lt} value=${p.probability} />
                ${p.verdict&&i`<span class=${`said ${p.verdict}`}>${Z[p.verdict]}</span>`}</div><//>`} />`:i`<${W} title="No image here">
          <p>${n==="labels"?"No image is labelled with it.":"There is none of this kind."}</p><//>`}
    ${r>0&&i`<${vt} id=${r} known=${s?.id===r?s:null}
      onClose=${m} onStep=${p=>{a(p),c({image:String(p.id)})}}
      onSearch=${p=>J(R(["search"],kt({...wt,examples:[p]})))} />`}
  </section>`}var xt=([t,e,n,o])=>({x:(t+n)/2,y:(e+o)/2,zoom:1});function le({deepest:t},[e,n,o]){let r=65536/2**Math.min(e,t);return{left:n*r,top:o*r,side:r}}function Ce(t,e){let n=Math.floor(t.byteLength/17),o=0,r=s=>{let a=new s(t,o,n);return o+=a.byteLength,a};return{...e,images:r(Float64Array),x:r(Uint16Array),y:r(Uint16Array),area:r(Uint16Array),type:r(Uint8Array),probability:r(Uint8Array),verdict:r(Uint8Array)}}var ot=(t,{width:e,height:n,bounds:[o,r,s,a]})=>t.zoom*Math.min(Math.max(1,e-32)/Math.max(1,s-o),Math.max(1,n-32)/Math.max(1,a-r));function ct(t,e,n,o){let r=ot(t,e);return[t.x+(n-e.width/2)/r,t.y+(o-e.height/2)/r]}function ut(t,e,n,o){let r=ot(t,e);return[(n-t.x)*r+e.width/2,(o-t.y)*r+e.height/2]}var Yt=(t,e,n)=>Math.min(n,Math.max(e,t)),zt=({x:t,y:e,zoom:n},[o,r,s,a])=>({x:Yt(t,o,s),y:Yt(e,r,a),zoom:Yt(n,1,4e3)});function Zt(t,e,n,[o,r],[s,a]){let[l,u]=ct(t,e,o,r),d=Yt(t.zoom*n,1,4e3),c=ot({...t,zoom:d},e);return zt({x:l-(s-e.width/2)/c,y:u-(a-e.height/2)/c,zoom:d},e.bounds)}var St=(t,e,n,o=e.width/2,r=e.height/2)=>Zt(t,e,n,[o,r],[o,r]);function ce(t,e){let[n,o]=ct(t,e,0,0),[r,s]=ct(t,e,e.width,e.height);return[[n,o],[r,o],[r,s],[n,s]]}function Oe(t,e,n,o){let[[r,s],,[a,l]]=ce(e,n),u=t.tiles.filter(c=>{let m=le(t,c);return m.left<=a&&m.top<=l&&m.left+m.side>=r&&m.top+m.side>=s}),d=[];for(let c=0,m=0;c<u.length&&m<o;){let y=c,p=0;for(;y<u.length&&u[y][0]===u[c][0];)p+=u[y++][3];let $=Math.min(1,(o-m)/p);for(;c<y;)d.push([u[c],Math.floor(u[c++][3]*$)]);m+=p}return d}function Re(t,e,n,o){let r=null,s=o*o;for(let[a,l]of t){if(e+o<a.left||n+o<a.top||e-o>a.left+a.side||n-o>a.top+a.side)continue;let u=a.side/65536;for(let d=0;d<l;d+=1){let c=(a.left+a.x[d]*u-e)**2+(a.top+a.y[d]*u-n)**2;c<=s&&([r,s]=[{tile:a,row:d},c])}}return r}var Et=(t,e)=>[t.left+t.x[e]*t.side/65536,t.top+t.y[e]*t.side/65536];function Ne(t,e,n){let o=!1;for(let r=0,s=t.length-1;r<t.length;s=r,r+=1){let[[a,l],[u,d]]=[t[r],t[s]];l>n!=d>n&&e<(u-a)*(n-l)/(d-l)+a&&(o=!o)}return o}var Ie=t=>t.split(",").map(Number),ae=t=>Number(t.toFixed(2));function Le(t){let e=Math.max(1,Math.ceil(t.length/60));return t.filter((n,o)=>o%e===0).map(n=>n.map(ae).join(",")).join(";")}function Xt(t){let e=t.split(";").map(Ie),n=o=>o.length===2&&o.every(r=>Math.abs(r)<=1e6);return e.length>=3&&e.length<=500&&e.every(n)?e:null}function Pe(t,e){let n=[t.x,t.y,t.zoom].map(ae).join();return n===Object.values(xt(e)).map(ae).join()?"":n}function ue(t,e){let[n,o,r,...s]=Ie(t);return t&&!s.length&&[n,o,r].every(Number.isFinite)?zt({x:n,y:o,zoom:r},e):xt(e)}var Qt=8,En=`#version 300 es
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
void main() { painted = vec4(colour, 1.0); }`;function de(t){let e=t.getContext("webgl2",{antialias:!1,preserveDrawingBuffer:!0});return e?An(t,e):Tn(t)}function De(t,{width:e,height:n}){let o=devicePixelRatio||1,[r,s]=[Math.round(e*o),Math.round(n*o)];return(t.width!==r||t.height!==s)&&([t.width,t.height]=[r,s]),o}function _e(t,e){return Uint8Array.from(t.x,(n,o)=>e.shade(t,o))}function An(t,e){let n=e.createProgram();for(let[p,$]of[[e.VERTEX_SHADER,En],[e.FRAGMENT_SHADER,Mn]]){let b=e.createShader(p);e.shaderSource(b,$),e.compileShader(b),e.attachShader(n,b)}e.linkProgram(n),e.useProgram(n),e.enable(e.DEPTH_TEST),e.depthFunc(e.LEQUAL);let[o,r,s]=["box","colours","size"].map(p=>e.getUniformLocation(n,p)),a=new Map,l=new Set,u=null,d=1,c=(p,$,b,f)=>{let g=e.createBuffer(),k=e.getAttribLocation(n,p);return e.bindBuffer(e.ARRAY_BUFFER,g),e.bufferData(e.ARRAY_BUFFER,$,e.STATIC_DRAW),e.enableVertexAttribArray(k),e.vertexAttribPointer(k,1,b,f,0,0),g},m=({array:p,buffers:$})=>{e.deleteVertexArray(p),$.forEach(b=>e.deleteBuffer(b))},y=p=>{l.add(p);let $=a.get(p);if($?.key!==u.key){$&&m($);let b=e.createVertexArray();e.bindVertexArray(b),$={array:b,key:u.key,buffers:[c("x",p.x,e.UNSIGNED_SHORT,!0),c("y",p.y,e.UNSIGNED_SHORT,!0),c("shade",_e(p,u),e.UNSIGNED_BYTE,!1)]},a.set(p,$)}e.bindVertexArray($.array)};return{clear(p,$){for(let[b,f]of a)l.has(b)||(m(f),a.delete(b));l=new Set,u=$,d=De(t,p),e.viewport(0,0,t.width,t.height),e.uniform4fv(r,u.colours.flat()),e.clear(e.COLOR_BUFFER_BIT|e.DEPTH_BUFFER_BIT)},draw(p,$,b,f,g,k){y(p);let[M,h]=ut(f,g,p.left,p.top),E=p.side*ot(f,g);e.uniform4f(o,2*E/g.width,-2*E/g.height,2*M/g.width-1,1-2*h/g.height),e.uniform1f(s,k*d),e.drawArrays(e.POINTS,$,b-$)}}}function Tn(t){let e=t.getContext("2d"),n=new WeakMap,o=null;return{clear(r,s){o=s;let a=De(t,r);e.setTransform(a,0,0,a,0,0),e.clearRect(0,0,r.width,r.height)},draw(r,s,a,l,u,d){n.get(r)?.key!==o.key&&n.set(r,{key:o.key,shades:_e(r,o)});let{shades:c}=n.get(r),[m,y]=ut(l,u,r.left,r.top),p=r.side*ot(l,u)/65536;for(let $=o.colours.length-1;$>=0;$-=1){let[b,f,g,k]=o.colours[$],M=d*k;e.fillStyle=`rgb(${b*255} ${f*255} ${g*255})`;for(let h=s;h<a;h+=1)c[h]===$&&e.fillRect(m+r.x[h]*p-M/2,y+r.y[h]*p-M/2,M,M)}}}}var Cn=4,On=6e5;function je(t,e,n){let o=new Map,r=new Set,s=new AbortController,a=[],l=0,u=()=>{for(;r.size<Cn&&a.length;){let d=a.shift(),c=d.slice(0,3).join("/");r.has(c)||o.has(c)||(r.add(c),O.mapTile(c,t.state,s.signal).then(m=>{o.set(c,Ce(m,le(t,d))),l+=d[3],e()}).catch(m=>{s.signal.aborted||n(m)}).finally(()=>{r.delete(c),u()}))}};return{take(d){let c=[],m=[];for(let[y,p]of d){let $=y.slice(0,3).join("/"),b=o.get($);if(!b){m.push(y);continue}o.delete($),o.set($,b),c.push([b,Math.min(p,b.x.length)])}for(let[y,p]of o){if(l<=On||o.size<=c.length)break;o.delete(y),l-=p.x.length}return a=m,u(),c},close:()=>s.abort()}}var Rn=.15,Jt=1.4,Nn=9,In=4,Ln=250,Fe=15e4,Pn=8e3,[Dn,_n]=[20,30],jn=300,Fn=64,gt=4e4;function Un(t){t>_n?gt=Math.max(Pn,gt*.7):t<Dn&&(gt=Math.min(Fe,gt*1.15))}function Bn(t,e,n,o,r,s,a,l){let u=!0,d=0,c=new Map,m=[],y=$=>{requestAnimationFrame(g=>Un(g-$));let b=Math.floor(gt),f=(g,k)=>{let M=c.get(g)??0,h=Math.min(k,M+b);h<=M||(t.draw(g,M,h,o,r,a),c.set(g,h),b-=h-M)};if(u){u=!1,t.clear(r,s),m=e.take(Oe(n,o,r,Fe));let g=0;for(let k=0;k<m.length;){let M=m[k][0].side,h=k,E=0;for(;h<m.length&&m[h][0].side===M;)E+=m[h++][1];let K=Math.min(1,Math.max(0,gt-g)/E);for(;k<h;k+=1)f(m[k][0],Math.floor(m[k][1]*K));g+=E}}else for(;d<m.length&&b>=1;)f(...m[d]),(c.get(m[d][0])??0)>=m[d][1]&&(d+=1);d<m.length?p=requestAnimationFrame(y):l(m)},p=requestAnimationFrame(y);return()=>cancelAnimationFrame(p)}function Wn(t,e,n){let o=[];for(let[s,a]of t)for(let l=0;l<a;l+=1){let[u,d]=ut(e,n,...Et(s,l));if(!(u<0||d<0||u>n.width||d>n.height)&&o.push({id:s.images[l],at:Et(s,l),x:u,y:d,tile:s,row:l})>jn)return[]}let r=[];for(let s of o)r.every(({x:a,y:l})=>Math.max(Math.abs(a-s.x),Math.abs(l-s.y))>Fn)&&r.push(s);return r}function Kn(t,e,n){let o=[];return t.areas.forEach(({entities:r,type:s,x:a,y:l},u)=>{let d=r[0]||s,[c,m]=ut(e,n,a,l),y=Math.min(90,10+4*d.length);!d||c<y||m<56||c>n.width-y||m>n.height-14||o.every(p=>Math.abs(p.top-m)>24||Math.abs(p.left-c)>p.half+y)&&o.push({place:u,name:d,left:c,top:m,half:y})}),o}function Ue({plane:t,tiles:e,turn:n,style:o,frame:r,onFrame:s,lasso:a,marked:l,onLasso:u,onOpen:d}){let c=j(null),m=j(null),y=j([]),[p,$]=w(!1),[b,f]=w(null),[g,k]=w(null),[M,h]=w([]),[E,K]=w(null),Y=j(null),D=j(new Map),U=()=>({width:c.current.clientWidth,height:c.current.clientHeight,bounds:t.bounds}),dt=Math.min(7,(t.images>2e4?2:t.images>2e3?3.6:6.4)*Math.sqrt(r.zoom)),rt=c.current&&o(c.current);be(()=>{if(!E)return;m.current??=de(c.current);let v=0,S=Bn(m.current,e,t,r,E,rt,dt,N=>{y.current=N,c.current.dataset.drawn=String(N.reduce((T,[,q])=>T+q,0)),v=setTimeout(()=>h(Wn(N,r,E)),Ln)});return()=>{S(),clearTimeout(v)}},[t,e,n,r,rt?.key,E]),A(()=>{let v=c.current,S=()=>K(U());S();let N=new ResizeObserver(S);N.observe(v);let T=matchMedia("(prefers-color-scheme: dark)");T.addEventListener("change",S);let q=yt=>{yt.preventDefault();let[Ze,Xe]=x(yt);s(Qe=>St(Qe,U(),Math.exp(-yt.deltaY/400),Ze,Xe))},$e=yt=>yt.preventDefault(),he=()=>{m.current=de(v),S()};return v.addEventListener("wheel",q,{passive:!1}),v.addEventListener("webglcontextlost",$e),v.addEventListener("webglcontextrestored",he),()=>{N.disconnect(),T.removeEventListener("change",S),v.removeEventListener("wheel",q),v.removeEventListener("webglcontextlost",$e),v.removeEventListener("webglcontextrestored",he)}},[t]);let x=v=>{let S=c.current.getBoundingClientRect();return[v.clientX-S.left,v.clientY-S.top]},C=(v,S)=>Re(y.current,...ct(r,U(),v,S),Nn/ot(r,U())),P=()=>{let[[v,S],[N,T]]=D.current.values();return{apart:Math.max(1,Math.hypot(v-N,S-T)),middle:[(v+N)/2,(S+T)/2]}},B=v=>{if(v.button)return;v.currentTarget.setPointerCapture(v.pointerId);let[S,N]=x(v);D.current.set(v.pointerId,[S,N]),k(null),f(null),D.current.size===2?Y.current={frame:r,pinch:P()}:D.current.size===1?Y.current={x:S,y:N,frame:r,path:p||v.shiftKey?[ct(r,U(),S,N)]:null}:Y.current=null},Mt=v=>{let[S,N]=x(v),T=Y.current;if(D.current.has(v.pointerId)&&D.current.set(v.pointerId,[S,N]),T?.pinch){let q=P();s(()=>Zt(T.frame,U(),q.apart/T.pinch.apart,T.pinch.middle,q.middle))}else if(T?.path)T.path.push(ct(r,U(),S,N)),f([...T.path]);else if(T)s(()=>Zt(T.frame,U(),1,[T.x,T.y],[S,N]));else{let q=v.pointerType==="mouse"?C(S,N):null;k(q&&{id:q.tile.images[q.row],x:S,y:N})}},mt=()=>{D.current.clear(),Y.current=null,f(null)},Ye=v=>{let S=Y.current;if(mt(),!S||S.pinch)return;let[N,T]=x(v),q=!S.path&&Math.hypot(N-S.x,T-S.y)<In&&C(N,T);S.path?.length>2?u(S.path):q&&d(q.tile.images[q.row])},ze=v=>{let S={ArrowLeft:[-1,0],ArrowRight:[1,0],ArrowUp:[0,-1],ArrowDown:[0,1]}[v.key],N=Rn*Math.min(U().width,U().height)/ot(r,U());if(!(v.altKey||v.ctrlKey||v.metaKey)){if(S)s(T=>zt({...T,x:T.x+S[0]*N,y:T.y+S[1]*N},t.bounds));else if(v.key==="+"||v.key==="=")s(T=>St(T,U(),Jt));else if(v.key==="-")s(T=>St(T,U(),1/Jt));else if(v.key==="0"||v.key==="Home")s(()=>xt(t.bounds));else if(v.key==="Enter")u(ce(r,U()));else if(v.key==="Escape"&&Y.current)mt();else return;v.preventDefault()}},te=(v,S,N)=>i`<button class="button" aria-label=${S} title=${S}
    onClick=${()=>{s(T=>v?St(T,U(),v):xt(t.bounds)),H(S)}}>${N}</button>`,ee=v=>E&&ut(r,E,...v),fe=([v,S])=>({transform:`translate(${v}px, ${S}px)`}),ne=E&&(b??a)?.map(v=>ee(v).map(S=>S.toFixed(1)).join()).join(" ");return i`<div class="map-frame">
    <div class="map-tools" role="group" aria-label="Map">
      <button class="button" aria-pressed=${p} onClick=${()=>$(!p)}><${I} name="lasso" />Lasso</button>
      ${te(Jt,"Zoom in","+")}${te(1/Jt,"Zoom out","\u2212")}${te(0,"Show all","All")}
    </div>
    <canvas ref=${c} class=${p?"drawing":""} tabindex="0" role="application" aria-roledescription="map"
      data-zoom=${r.zoom.toFixed(2)} data-centre=${`${Math.round(r.x)},${Math.round(r.y)}`}
      aria-label="Map of the collection. Arrow keys move it, plus and minus zoom, 0 shows all, Enter chooses the images in view. Its areas are listed below."
      onPointerDown=${B} onPointerMove=${Mt} onPointerUp=${Ye} onPointerCancel=${mt}
      onPointerLeave=${()=>k(null)} onKeyDown=${ze} />
    ${E&&i`<div class="map-over" aria-hidden="true">
      ${M.map(({id:v,at:S,tile:N,row:T})=>i`<div key=${v} class="map-image" style=${{...fe(ee(S)),borderColor:Gn(rt,N,T)}}>
        <${X} image=${{id:v}} /></div>`)}
      <svg>${ne&&i`<polygon class="lasso-edge" points=${ne} /><polygon points=${ne} />`}
        ${l.map(v=>{let[S,N]=ee(v);return i`<circle key=${v.join()} cx=${S} cy=${N} r="6" />`})}</svg>
      ${Kn(t,r,E).map(({place:v,name:S,left:N,top:T})=>i`<span key=${v} class="map-name"
        style=${fe([N,T])}><span>${S}</span></span>`)}
    </div>`}
    ${g&&i`<div class="map-near" style=${{left:`${g.x}px`,top:`${g.y}px`}}>
      <${X} key=${g.id} image=${{id:g.id}} /></div>`}
  </div>`}function Gn({colours:t,shade:e},n,o){return`rgb(${t[e(n,o)].slice(0,3).map(r=>r*255).join(" ")})`}var Hn=300,qn=500,Be=[],Vn=.86;function Yn(){let[t,e]=w(null),[n,o]=w(null),[r,s]=w(0);A(()=>{let u=!0;return O.map().then(d=>u&&e(d),d=>u&&o(d)),()=>{u=!1}},[r]);let a=()=>{o(null),s(r+1)},l=u=>u instanceof ge&&u.status===409?s(r+1):o(u);return i`<h1>Map</h1>${n?i`<${_} error=${n} retry=${a} />`:t?t.images?i`<${to} plane=${t} onError=${l} />`:i`<${W} title="There is no map"><p>${t.note}</p><//>`:i`<${F} />`}`}function zn(t){let{types:e}=t;return{"":{title:"Types",of:(n,o)=>n.type[o],names:[...e.map(({type:n,images:o},r)=>[st(n)||n,r+1,o]),["other types",0,t.other],["no label",0,t.unlabelled]]},probability:{title:"Probability",of:(n,o)=>{let r=(n.probability[o]-1)/254;return r<0?4:r>=.95?0:r>=.8?1:r>=.5?2:3},names:[["95 % or more",4],["80 to 95 %",2],["50 to 80 %",1],["less than 50 %",6],["no label",0]]},verdict:{title:"Verdict",of:(n,o)=>(n.verdict[o]+3)%4,names:[["right",4],["wrong",6],["unsure",3],["not judged",0]]}}}function Zn(t,{names:e}){let n=getComputedStyle(t),o=a=>{let l=n.getPropertyValue(a).trim().slice(1).replace(/^(.)(.)(.)$/,"$1$1$2$2$3$3");return[0,2,4].map(u=>Number.parseInt(l.slice(u,u+2),16)/255)},r=o("--surface"),s=Array.from({length:Qt},(a,l)=>[...o(e[l]?.[1]?`--map-${e[l][1]}`:"--map-rest"),l===e.length-1?.6:1]);return[...s,...s.map(([a,l,u,d])=>[...[a,l,u].map((c,m)=>c+(r[m]-c)*Vn),d])]}function Xn(t){let{params:e}=V.value,n=e.get("at")??"",[o,r]=w(()=>ue(n,t.bounds)),s=j(n);A(()=>{n!==s.current&&(s.current=n,r(ue(n,t.bounds)))},[n]);let a=(l,u=!1)=>{let d=new URLSearchParams(V.value.params);Object.entries(l).forEach(([c,m])=>m?d.set(c,m):d.delete(c)),J(R(["map"],d),u)};return A(()=>{let l=setTimeout(()=>{let u=Pe(o,t.bounds);u===s.current||V.value.view!=="map"||(s.current=u,a({at:u},!0))},Hn);return()=>clearTimeout(l)},[o]),{params:e,frame:o,setFrame:r,set:a}}function Qn(t,e,n,o){let[r,s]=w(null);return A(()=>{if(s(null),!e&&n===null)return;let a=new AbortController;return O.mapChosen(e?{lasso:Xt(e)}:{area:n},a.signal).then(l=>{s(l),H(`${L(l.total,"image")} chosen.`)},l=>{a.signal.aborted||o(l)}),()=>a.abort()},[t,e,n]),r}function Jn(t,e){let n=xe(t),o=Se(n)?JSON.stringify(Ft(n)):"",[r,s]=w(Be);return A(()=>{if(s(Be),!o)return;let a=new AbortController;return(async()=>{let{hits:l,end:u}=await O.search({...JSON.parse(o),limit:qn},a.signal),d=l.slice(0,u||l.length).map(({image:y})=>y.id),{x:c,y:m}=d.length?await O.mapPlaces(d,a.signal):{x:[],y:[]};s(c.map((y,p)=>[y,m[p]])),H(`${L(c.length,"image")} marked.`)})().catch(l=>{a.signal.aborted||e(l)}),()=>a.abort()},[o]),{asked:o,marked:r}}function to({plane:t,onError:e}){let{params:n,frame:o,setFrame:r,set:s}=Xn(t),[a,l]=w(null),[u,d]=w(0),{open:c,detail:m}=se(["map"]),y=Xt(n.get("lasso")??"")?n.get("lasso"):"",p=At(()=>y?Xt(y):null,[y]),$=n.has("area")?Number(n.get("area")):null,b=!y&&t.areas[$]?$:null,f=Qn(t,y,b,e),{asked:g,marked:k}=Jn(n,e),M=At(()=>je(t,()=>d(D=>D+1),e),[t]);A(()=>M.close,[M]);let h=At(()=>zn(t),[t]),E=n.get("colour")??"",K=Object.hasOwn(h,E)?E:"",Y=D=>{let U=Zn(D,h[K]),{of:dt}=h[K],rt=(x,C,P)=>(a===null||a===P)&&(b===null||x.area[C]===b)&&(!p||Ne(p,...Et(x,C)));return{key:[U,K,a,b,y].join("|"),colours:U,shade:(x,C)=>{let P=Math.min(Qt-1,dt(x,C));return rt(x,C,P)?P:P+Qt}}};return i`
    <p class="lead">${L(t.images,"image")}; those that are alike lie near each other.${t.missing>0&&` ${L(t.missing,"image")} came since and are not on it: openmofi index map INDEX makes it anew.`}</p>
    ${g&&i`<p class="note" role="note">${L(k.length,"image")} of a search marked.
      <button class="button" onClick=${()=>s(Object.fromEntries([...n.keys()].filter(D=>!["at","lasso","area","colour"].includes(D)).map(D=>[D,""])))}>Mark none</button></p>`}
    <div class="map">
      <${Ue} plane=${t} tiles=${M} turn=${u} style=${Y} frame=${o} onFrame=${r} lasso=${p} marked=${k}
        onLasso=${D=>s({lasso:Le(D),area:""})} onOpen=${c} />
      <div class="map-side">
        <${eo} ways=${h} way=${K} bright=${a} onBright=${l}
          onWay=${D=>{l(null),s({colour:D},!0)}} />
        <${no} plane=${t} area=${b} />
      </div>
    </div>
    ${f&&i`<${oo} key=${`${y} ${b}`} chosen=${f}
      onOpen=${D=>c(D.id,D)} onNone=${()=>s({lasso:"",area:""})} />`}
    ${m}`}function eo({ways:t,way:e,bright:n,onBright:o,onWay:r}){let{names:s}=t[e];return i`<section aria-labelledby="legend"><h2 id="legend">${t[e].title}</h2>
    <label class="field inline"><span>Colours</span> <select value=${e} onChange=${a=>r(a.currentTarget.value)}>
      ${Object.entries(t).map(([a,{title:l}])=>i`<option key=${a} value=${a} selected=${a===e}>${l}</option>`)}</select></label>
    <ul class="legend">${s.map(([a,l,u],d)=>u!==0&&i`<li key=${a}>
      <button type="button" aria-pressed=${n===d} title=${`Let ${a} stand out`}
        onClick=${()=>o(n===d?null:d)}>
        <span class=${`swatch ${l?`of-${l}`:d===s.length-1?"small":""}`} />
        <span>${a}</span>${u!==void 0&&i` <span class="figure">${z(u)}</span>`}</button></li>`)}</ul></section>`}function no({plane:t,area:e}){return i`<section aria-labelledby="areas"><h2 id="areas">Areas</h2>
    <ol class="areas">${t.areas.map(({images:n,entities:o,type:r},s)=>i`<li key=${s}>
      <a href=${R(["map"],s===e?{}:{area:String(s)})} aria-current=${s===e?"true":void 0}>
        <span>${o.join(", ")||r||`Area ${s+1}`}</span> <span class="figure">${L(n,"image")}</span></a></li>`)}</ol>
  </section>`}function oo({chosen:{total:t,images:e},onOpen:n,onNone:o}){let r=j(null);return A(()=>{r.current.getBoundingClientRect().top>innerHeight-60&&r.current.scrollIntoView({block:"center"})},[]),i`<section aria-labelledby="chosen">
    <div class="results-head"><h2 id="chosen" ref=${r}>${L(t,"image")} chosen</h2>
      <button class="button" onClick=${o}>Choose none</button></div>
    ${t>e.length&&i`<p class="note" role="note">The first ${z(e.length)} are listed: choose fewer to see all.</p>`}
    ${t?i`<${re} ids=${e} picked onOpen=${n} />`:i`<${W} title="No image lies here"><p>Draw around some points, or take an area.</p><//>`}
  </section>`}var We=50,ro=new Intl.DateTimeFormat("en",{dateStyle:"medium",timeStyle:"short"});function Ke(){let t=at.value,[e,n]=w(null),[o,r]=w(!1),[s,a]=w(null),l=async m=>{a(null);try{await m()}catch(y){a(y)}},u=m=>l(async()=>{let y=await O.history({who:t,limit:We,offset:m.length});at.value===t&&(n([...m,...y]),r(y.length===We))});A(()=>{n(null),u([])},[t]);let d=m=>l(async()=>{await $t([m.verdict.id]),n(y=>y.filter(p=>p!==m)),H(`${m.entity.name}: taken back.`)}),c=s&&i`<${_} error=${s} retry=${()=>u(e??[])} />`;return e?i`${c}
    ${e.length===0&&i`<${W} title="No verdicts yet"><p>${t?`None is by ${t}.`:"None was given without a name. Write your name to see yours."}</p><//>`}
    <ol class="history" aria-label="Verdicts, latest first">${e.map(m=>i`<${so} key=${m.verdict.id} row=${m} onUndo=${()=>d(m)} />`)}</ol>
    ${o&&i`<p class="center"><button class="button" onClick=${()=>u(e)}>Show more</button></p>`}`:c||i`<${F} />`}function so({row:t,onUndo:e}){let{verdict:n,image:o,entity:r,instead:s}=t;return i`<li>
    <span class="small-image">${o&&i`<${X} image=${o} />`}</span>
    <div><p><span class=${`said ${n.verdict}`}>${Z[n.verdict]}</span> <a href=${R(["entity",r.id])}>${r.name}</a>${s&&i`, it is <a href=${R(["entity",s.id])}>${s.name}</a>`}</p>
      <p class="faint">${o?i`<a href=${R(["images"],{ids:o.id,show:o.id})}>${et(o)}</a>`:`${n.shard} \xB7 ${n.key}, no longer in the index`}
        ${" \xB7 "}<time datetime=${n.when}>${ro.format(new Date(n.when))}</time></p></div>
    <button class="button small" aria-label=${`Take back: ${r.name} is ${Z[n.verdict]}`} onClick=${e}><${I} name="undo" />Undo</button></li>`}var io=150,me=8,ao=300;function lo(){let t=(document.querySelector("main")?.clientWidth??innerWidth)-(innerWidth>760?48:32),e=Math.max(2,Math.floor((t+me)/(io+me)));return Math.min(60,e*Math.max(3,Math.floor((innerHeight-ao)/(t/e))))}function Ge({entity:t,name:e}){let[n,o]=w(null),[r,s]=w({}),[a,l]=w(new Set),[u,d]=w([]),[c,m]=w(null),[y,p]=w(!1),[$,b]=w(0),f=j(null),g=j(null),k=async()=>{m(null);try{o(await O.review({entity:t,order:"doubt",accepted:!0,who:at.value,limit:lo()})),s({}),b(0)}catch(x){m(x)}};A(()=>{k()},[]);let M=async()=>{if(!(y||!n?.length)){if([...f.current.querySelectorAll("img")].some(x=>!x.complete)){H("Not all images are here yet.");return}p(!0),m(null);try{let x=await Lt(n.map(({image:P})=>({image:P,entity:t,value:E(P)}))),C=n.filter(({image:P})=>r[P.id]==="n").length;H(`${L(n.length,"label")} judged, ${C} of them wrong.`),d([...u,{ids:x,page:n,values:r}]),await k(),f.current?.querySelector("button")?.focus()}catch(x){m(x)}finally{p(!1)}}},h=async()=>{let x=u.at(-1);if(!(y||!x)){p(!0);try{await $t(x.ids),d(u.slice(0,-1)),o(x.page),s(x.values),H("The last page was taken back.")}catch(C){m(C)}finally{p(!1)}}},E=x=>r[x.id]??(a.has(x.id)?"u":"y"),K=(x,C)=>{let P=n[x]?.image.id;P!==void 0&&s(B=>({...B,[P]:C}))},Y=(x,C)=>{let{id:P}=n[x].image;s(B=>({...B,[P]:E({id:P})===C?"y":C}))};it(x=>{if(x.key==="z")return h(),!0;if(!n?.length)return!1;let C=Math.max(1,Math.round(f.current.clientWidth/(f.current.firstElementChild.offsetWidth+me))),P={ArrowLeft:-1,ArrowRight:1,ArrowUp:-C,ArrowDown:C}[x.key],B=f.current.contains(document.activeElement),Mt=B||document.activeElement===document.body||document.activeElement?.id==="main";if(x.key==="Enter"&&Mt)!x.repeat&&M();else if(x.key==="n"||x.key==="x"||x.key===" "&&B)Y($,"n");else if(x.key==="u")Y($,"u");else if(x.key==="y")K($,"y");else if(P&&Mt){let mt=Math.max(0,Math.min(n.length-1,$+P));b(mt),f.current.querySelectorAll("button")[mt].focus()}else return!1;return!0});let D=(x,C)=>{if(x.pointerType==="touch"||x.button)return;let P=E(n[C].image)==="n"?"y":"n";g.current=P,K(C,P);let B=()=>{setTimeout(()=>{g.current=null}),removeEventListener("pointerup",B)};addEventListener("pointerup",B)},U=x=>{if(!g.current||!x.buttons)return;let C=document.elementFromPoint(x.clientX,x.clientY)?.closest("[data-place]")?.dataset.place;C!==void 0&&K(Number(C),g.current)},dt=n?.filter(({image:x})=>E(x)!=="y").length??0,rt=c&&i`<${_} error=${c} retry=${n?void 0:k} />`;return n?i`
    ${rt}
    ${n.length===0?i`<${W} title="All of its labels are judged">
        <p><a href=${R(["entity",t])}>See the entity</a> or <a href="#/review">choose another</a>.</p><//>`:i`<p class="keys"><kbd>←</kbd><kbd>→</kbd><kbd>↑</kbd><kbd>↓</kbd> move <kbd>n</kbd> or <kbd>Space</kbd> wrong
          <kbd>u</kbd> unsure <kbd>Enter</kbd> take the page <kbd>z</kbd> undo; or click and drag over what is wrong</p>
        <div class="judge-grid" ref=${f} role="group" aria-label=${`Labels of ${e}, the most doubtful first`} onPointerMove=${U}>
          ${n.map(({image:x},C)=>{let P=E(x);return i`<button key=${x.id} type="button" class=${`judge ${P}`} data-place=${C}
                tabindex=${C===$?0:-1} aria-label=${`${et(x)}: ${Z[P]}`}
                onFocus=${()=>b(C)} onPointerDown=${B=>D(B,C)}
                onKeyDown=${B=>{B.key==="Enter"&&B.preventDefault()}}
                onClick=${B=>{B.detail&&!g.current&&Y(C,"n")}}>
              <${X} key=${x.id} image=${x} onGone=${()=>l(B=>new Set(B).add(x.id))} />
              <span class="mark"><${I} name=${{y:"check",n:"close",u:"question"}[P]} /></span>
            </button>`})}
        </div>`}
    <div class="judge-bar">
      <button class="button main" disabled=${y||!n.length} onClick=${M}>
        <${I} name="check" />Take the page: ${n.length-dt} right, ${dt} not</button>
      <button class="button" disabled=${y||!u.length} onClick=${h}><${I} name="undo" /><span class="undo">Undo</span></button>
      <p class="faint">${u.length>0&&`${L(u.reduce((x,C)=>x+C.page.length,0),"label")} judged`}</p>
    </div>`:rt||i`<${F} />`}function He({entity:t}){let[e,n]=w(null);if(A(()=>{let u=!0;return O.precision(t).then(d=>u&&n(d),()=>{}),()=>{u=!1}},[ft.value,t]),!e?.judged)return null;let{precision:o,lower:r,upper:s,judged:a,labels:l}=e;return i`<p class="precision" role="note">
    <span class="interval" aria-hidden="true"><span class="range" style=${{left:`${r*100}%`,width:`${(s-r)*100}%`}} />
      <span class="point" style=${{left:`${o*100}%`}} /></span>
    <span>Precision of the labels <strong>${G(o)}</strong>${`, between ${G(r)} and ${G(s)} (95 % interval), by ${L(a,"verdict")} on ${L(l,"label")}`}</span></p>`}var co=20,uo=9,qe={y:"yes",n:"no",u:"unsure"},pe=({image:t,entity:e})=>`${t.id} ${e.id}`;function Ve({entity:t}){let[e,n]=w(null),[o,r]=w([]),[s,a]=w(null),{current:l}=j(new Set),u=j(!1),d=async()=>{a(null);try{let g=await O.review({entity:t,order:"active",accepted:!0,who:at.value,limit:co+l.size});n(g.filter(k=>!l.has(pe(k))))}catch(g){a(g)}};A(()=>{d()},[]);let c=e?.[0],m=()=>(l.add(pe(c)),y()),y=async()=>e.length>1?n(e.slice(1)):d(),p=async(g,k="",M="")=>{if(!(u.current||!c)){u.current=!0,a(null);try{let h=await Lt([{image:c.image,entity:c.entity.id,value:g,instead:k}]);r([...o,{ids:h,item:c,value:g,name:M}]),H(`${M?`It is ${M}`:`You said ${qe[g]}`}.`),await y()}catch(h){a(h)}finally{u.current=!1}}},$=async()=>{let g=o.at(-1);if(!(u.current||!g)){u.current=!0;try{await $t(g.ids),r(o.slice(0,-1)),n([g.item,...e??[]]),H("The last verdict was taken back.")}catch(k){a(k)}finally{u.current=!1}}};it(g=>g.key!=="z"||g.repeat?!1:($(),!0));let b=o.at(-1),f=s&&i`<${_} error=${s} retry=${e?void 0:d} />`;return i`${f}
    ${!e&&!s&&i`<${F} />`}
    ${e&&(c?i`<${mo} key=${pe(c)} item=${c} onDecide=${p} onSkip=${m} />`:i`<${W} title="Everything is judged"><p>${t?"None of its labels is left.":"No label is left."}
          ${" "}<a href="#/review">Choose an entity</a></p><//>`)}
    <div class="judge-bar">
      <button class="button" disabled=${!b} onClick=${$}><${I} name="undo" /><span class="undo">Undo</span></button>
      <p class="faint" data-last>${b&&i`${b.item.entity.name}: you said ${qe[b.value]}${b.name&&`, it is ${b.name}`};
        the labels gave it ${G(b.item.probability)}. ${L(o.length,"label")} judged.`}</p>
    </div>`}function mo({item:t,onDecide:e,onSkip:n}){let{image:o,entity:r}=t,[s,a]=w(null),[l,u]=w(null),[d,c]=w(!1);A(()=>{let h=!0;return O.reading(o.id).then(E=>h&&u(E),()=>{}),O.recogniseImage(o.id).then(E=>h&&a(E.entities),()=>h&&a([])),()=>{h=!1}},[]);let m=s?.find(h=>h.entity.id===r.id)?.evidence??[],y=l?.candidates??[],p=new Set(y.filter(h=>h.entity===r.id).map(h=>h.mention)),$=[...new Set([...p].map(h=>l.mentions[h]?.kind).filter(Boolean))],b=new Map(y.map(h=>[h.entity,h.description])),f=new Map(y.filter(h=>p.has(h.mention)).map(h=>[h.entity,h.name]));o.labels.forEach(h=>f.set(h.entity,h.name)),s?.filter(h=>(h.probability??1)>=Wt).forEach(h=>{f.set(h.entity.id,h.entity.name),b.set(h.entity.id,h.entity.description)}),f.delete(r.id);let g=[r.name,...f.values()],k=l?.text===o.text&&p.size?Rt(o.text,l.mentions.map(({start:h,end:E},K)=>({start:h,end:E,kind:p.has(K)?"meant":"other"}))):Ot(o.text,[r.name,...r.aliases]),M=[...f].slice(0,uo);return it(h=>{if(h.repeat)return!1;let E=M[Number(h.key)-1];if(["y","n","u"].includes(h.key))e(h.key);else if(h.key==="s")n();else if(h.key==="i")c(!0);else if(E)e("n",...E);else return!1;return!0}),i`<div class="single">
    <div class="stage"><button class="plain" aria-label="Look closely" onClick=${()=>Bt(o)}>
      <${ht} src=${Q(o.id)} alt=${o.text?"":o.key} width=${o.width} height=${o.height} /></button></div>
    <div class="about">
      <h2 class="question">Does it show <a href=${R(["entity",r.id])}>${r.name}</a>?</h2>
      ${r.description&&i`<p class="lead">${r.description}</p>`}
      ${o.text&&i`<blockquote class="caption">${k.map(h=>h.mark?i`<mark class=${h.mark}>${h.text}</mark>`:h.text)}</blockquote>`}
      ${$.length>0&&i`<p class="faint named-in">Named in ${$.join(", ")}</p>`}
      <div class="verdicts" role="group" aria-label="Verdict">
        <button class="button yes" onClick=${()=>e("y")}><${I} name="check" />Yes <kbd>y</kbd></button>
        <button class="button no" onClick=${()=>e("n")}><${I} name="close" />No <kbd>n</kbd></button>
        <button class="button" onClick=${()=>e("u")}><${I} name="question" />Unsure <kbd>u</kbd></button>
        <button class="button" onClick=${n}>Skip <kbd>s</kbd></button>
      </div>
      <section aria-label="It is this instead"><h3>It is this instead</h3>
        <ul class="chips">${M.map(([h,E],K)=>i`<li key=${h}><span class="chip">
          <button type="button" class="chip-text" title=${b.get(h)} onClick=${()=>e("n",h,E)}><kbd>${K+1}</kbd> ${E}${g.indexOf(E)!==g.lastIndexOf(E)&&b.get(h)&&i` <span class="homonym">${b.get(h)}</span>`}</button></span></li>`)}
          ${!d&&i`<li key="another"><span class="chip"><button type="button" class="chip-text" onClick=${()=>c(!0)}>
            <kbd>i</kbd> Another</button></span></li>`}</ul>
        ${d&&i`<div class="instead"><${Pt} label="It is instead" placeholder="name of an entity" focused
          onEntity=${h=>e("n",h.id,h.name)} /></div>`}</section>
      ${m.length>0&&i`<section aria-label="Evidence"><h3>Near it, and labelled ${r.name}</h3>
        <div class="evidence">${m.map(([h,E])=>i`<span key=${h.id} class="small-image" title=${`similarity ${E.toFixed(2)}`}>
          <${X} image=${h} /></span>`)}</div></section>`}
    </div>
  </div>`}function po(){let{rest:[t="",e=""]}=V.value;A(()=>Tt(e),[e]);let n=pt.value[e]??e;if(we.value.has(e))return i`<h1 class="unseen">Review</h1><${W} title=${`The index has no entity ${e}`}>
    <p><a href="#/review">Choose another</a></p><//>`;if(t&&!["grid","single","history"].includes(t))return i`<h1 class="unseen">Review</h1><${W} title="There is no such view">
    <p><a href="#/review">Go to the review</a></p><//>`;let o=t==="grid"&&e;return i`
    <header class="review-head">
      <div>
        <h1>${o?n:t==="single"?e?n:"Single labels":t==="history"?"My verdicts":"Review"}</h1>
        ${t!=="single"&&i`<p class="lead">${o?"Everything here is taken as right. Mark what does not show it.":t==="history"?"What you said, latest first. Each can be taken back.":"Choose an entity to judge its labels by the page, or judge single labels, the most telling first."}</p>`}
      </div>
      <div class="review-tools">
        <${ke} />
        ${t&&i`<nav aria-label="Ways to review" class="actions">
          ${o?i`<a class="button" href=${R(["review","single",e])}>One by one</a>`:e&&i`<a class="button" href=${R(["review","grid",e])}>As a grid</a>`}
          <a class="button" href="#/review">Other entities</a></nav>`}
      </div>
    </header>
    <${He} entity=${e} />
    ${o?i`<${Ge} key=${e} entity=${e} name=${n} />`:t==="history"?i`<${Ke} />`:t==="single"?i`<${Ve} key=${e} entity=${e} />`:i`<p class="actions"><a class="button main" href="#/review/single">Judge single labels</a>
            <a class="button" href="#/review/history">My verdicts</a>
            <a class="button" href="api/verdicts.parquet" download>Verdicts as Parquet</a></p>
          <h2>Entities</h2>
          <${ie} path=${["review"]} target=${r=>R(["review","grid",r.id])}
            tail=${r=>L(r.images,"label")} />`}`}export{vt as Detail,gn as Entities,vn as Entity,cn as ExampleDialog,hn as Images,Yn as MapView,$n as Rail,po as Review};
