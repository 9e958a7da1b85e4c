import{$ as ue,A as J,E as T,F as ae,G as j,H as K,I as ie,J as v,K as L,L as le,M as k,N as B,O as A,P as ce,W as pe,a as Q,aa as $e,b as h,c as g,ca as me,d as q,da as fe,e as S,f as ee,fa as X,g as z,ga as de,h as t,ha as he,i as F,ia as ge,j as te,ja as be,k as ne,ka as x,l as C,m as oe,o as w,p as V,q as D,s as se,t as re,u as N,v as G,w as E,x as b,y as H}from"./chunk-ZNOAAP7A.js";var ve='data:image/svg+xml,<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="%230b6e72"/><rect x="7" y="7" width="8" height="8" rx="2" fill="%23fff"/><rect x="17" y="7" width="8" height="8" rx="2" fill="%23fff" opacity=".55"/><rect x="7" y="17" width="8" height="8" rx="2" fill="%23fff" opacity=".55"/><circle cx="21" cy="21" r="4" fill="none" stroke="%23ffd166" stroke-width="2.6"/><path d="M24 24l3 3" stroke="%23ffd166" stroke-width="2.6" stroke-linecap="round"/></svg>%0A';var _=z(null),P=z(null);function Y(){_.value||(P.value=null,import("./later-VWTFFBWZ.js").then(e=>{_.value=e},()=>{P.value=new F(0,"A part of the page cannot be loaded.","The server may have been stopped, or is of another version now: load the page again.")}))}for(let e of["pointermove","pointerdown","keydown"])addEventListener(e,Y,{once:!0,passive:!0});function I({of:e,...n}){return g(Y,[]),_.value?t`<${_.value[e]} ...${n} />`:P.value?t`<${k} error=${P.value} retry=${Y} />`:t`<${A} />`}var we=new Map,Fe=20<<20,ye=e=>we.get(e);async function ke(e,n){let s=new F(413,`${e.name||"The image"} is too large (${Math.round(e.size/1e6)} MB).`,`${n?`At most ${Math.floor(n/1e6)} MB are taken. `:""}Make the image smaller, then try again.`);if(n&&e.size>n)throw s;try{let{upload:i}=await C.upload(e);return we.set(i,URL.createObjectURL(e)),i}catch(i){throw i.status===0&&e.size>Fe?s:i}}var Z=e=>[...e?.files??[]];var De=6,Ne=new Set(["date","licence","license"]);function xe({filters:e,columns:n,onFilters:s}){let[i,u]=h(!1),l=Object.values(e).filter(Boolean).length,o=(a,r)=>s({...e,[a]:r}),c=(a,r,m={})=>t`<label class="field"><span>${r}</span>
    <input type="text" value=${e[a]??""} ...${m}
      onChange=${f=>o(a,f.currentTarget.value.trim())} /></label>`,p=Number(e.min_probability??0);return t`
    <button type="button" class="button" aria-expanded=${i} aria-controls="filters" onClick=${()=>u(!i)}>
      <${v} name="filter" />Filters${l>0&&t`<span class="badge">${l}</span>`}</button>
    <div id="filters" class="filter-fields" role="group" aria-label="Filters" hidden=${!i}>
      ${c("type","Type of entity",{placeholder:"bird"})}
      <label class="field"><span>Label probability at least</span>
        <select value=${String(p)} onChange=${a=>o("min_probability",a.currentTarget.value)}>
          ${[0,.5,.8,.9,.95].map(a=>t`<option value=${String(a)} selected=${a===p}>
            ${a?`${Math.round(a*100)} %`:"any"}</option>`)}
        </select></label>
      ${c("folder","Folder",{placeholder:"/photos/2024"})}
      ${n.includes("date")&&c("since","From day",{type:"date"})}
      ${n.includes("date")&&c("until","To day",{type:"date"})}
      ${n.some(a=>a==="licence"||a==="license")&&c("licence","Licence",{placeholder:"cc-by*"})}
      ${n.filter(a=>!Ne.has(a)).slice(0,De).map(a=>c(`column.${a}`,a))}
    </div>`}function Se({onFiles:e}){let[n,s]=h(!1),i=S(e);return i.current=e,g(()=>{let u=r=>r.dataTransfer?.types.includes("Files"),a={dragover:r=>{u(r)&&(r.preventDefault(),s(!0))},dragleave:r=>{r.relatedTarget||s(!1)},drop:r=>{u(r)&&(r.preventDefault(),s(!1),i.current(Z(r.dataTransfer)))},paste:r=>{let m=Z(r.clipboardData);m.length&&(r.preventDefault(),i.current(m))}};return Object.entries(a).forEach(([r,m])=>addEventListener(r,m)),()=>Object.entries(a).forEach(([r,m])=>removeEventListener(r,m))},[]),n&&t`<div class="drop" aria-hidden="true"><p>Drop the image to search with it</p></div>`}function Ee({onFiles:e}){let n=S(null);return t`<button type="button" class="button pick" onClick=${()=>n.current.click()}>
      <${v} name="image" />Image
    </button>
    <input ref=${n} type="file" accept="image/*" hidden tabindex="-1" aria-label="Image to search with" onChange=${s=>{let i=[...s.currentTarget.files];s.currentTarget.value="",i.length&&e(i)}} />`}function Te({query:e,names:n,onQuery:s}){let i=p=>s({...e,examples:e.examples.filter((a,r)=>r!==p)}),u=(p,a)=>s({...e,examples:e.examples.map((r,m)=>m===p?{...r,...a}:r)}),l=e.filters.entity,o=p=>s({...e,filters:{...e.filters,[p]:""}});return e.entity||e.examples.length||e.more.length||e.less.length||l?t`<ul class="chips query-chips" aria-label="The query">
    ${e.entity&&t`<li><${x} kind="entity" name=${n[e.entity]??e.entity}
      onRemove=${()=>s({...e,entity:""})}>${n[e.entity]??e.entity}<//></li>`}
    ${e.examples.map((p,a)=>t`<li key=${`${p.upload??p.image}-${a}`}>
      <${je} example=${p} onRemove=${()=>i(a)} onChange=${r=>u(a,r)} /></li>`)}
    ${e.more.length>0&&t`<li><${x} name="what was marked as right" kind="right"
      onRemove=${()=>s({...e,more:[]})}>${b(e.more.length,"image")} more like this<//></li>`}
    ${e.less.length>0&&t`<li><${x} name="what was marked as wrong" kind="wrong"
      onRemove=${()=>s({...e,less:[]})}>${b(e.less.length,"image")} less like this<//></li>`}
    ${l&&t`<li><${x} name="the filter" onRemove=${()=>o("entity")}>only ${n[l]??l}<//></li>`}
  </ul>`:null}function je({example:e,onRemove:n,onChange:s}){let[i,u]=h(!1),l=e.upload?ye(e.upload):oe({id:e.image}),o=e.upload?"your image":`image ${e.image}`,c=e.weight<0;return t`<span class=${`chip example ${c?"wrong":""}`}>
    <button type="button" class="example-image" aria-label=${`${o}: select a region or recognise`} onClick=${()=>u(!0)}>
      ${l?t`<img src=${l} alt="" />`:t`<${v} name="image" />`}
      ${e.region&&t`<span class="region-mark" style=${{left:`${e.region[0]*100}%`,top:`${e.region[1]*100}%`,width:`${(e.region[2]-e.region[0])*100}%`,height:`${(e.region[3]-e.region[1])*100}%`}} />`}
    </button>
    <button type="button" class="sign" aria-pressed=${c} aria-label=${`Less like ${o}`}
      title=${c?"less like this":"more like this"} onClick=${()=>s({weight:-e.weight})}>${c?"\u2212":"+"}</button>
    <button type="button" class="chip-remove" aria-label=${`Remove ${o}`} onClick=${n}><${v} name="close" /></button>
    ${i&&t`<${I} of="ExampleDialog" example=${e} src=${l} name=${o} onClose=${()=>u(!1)}
      onRegion=${p=>{u(!1),s({region:p})}} />`}
  </span>`}var Be=10,Ae=5,Oe=100;function Ce({query:e,onQuery:n,onRefine:s,onOpen:i}){let u=he(e),l=JSON.stringify(u),o=fe(async(f,d,M)=>{let{hits:O,total:U,...$}=await C.search({...u,limit:d,offset:f},M);return{items:O,total:U,about:$}},l),c=ge(e),p=c&&o.about?.end!=null?Math.min(o.about.end,o.total):null,a=p===null?b(o.total,"image"):`${p?E(p):"None"} likely`;if(g(()=>{o.total!==null&&!o.replaced&&L(o.total?`${a}.`:"Nothing was found.")},[o.total,o.replaced,l]),o.error&&o.total===null)return t`<${k} error=${o.error} retry=${()=>o.retry()} />`;if(o.total===null)return t`<${A} what="Searching" />`;if(o.total===0){let f=Object.values(e.filters).some(Boolean);return t`<${B} title=${c||f?"Nothing was found":"The index is empty"}>
      <p>${f?"No image passes the filters.":c?"Say it in other words.":"Images come in with openmofi index add."}</p>
      ${f&&t`<button class="button" onClick=${()=>n({...e,filters:{}})}>Remove the filters</button>`}<//>`}let r=(f,d)=>{L(d==="more"?"More like this.":"Less like this."),s(be(e,f.id,d))},m=e.entity||o.about?.entity||e.filters.entity;return t`
    <section aria-label="Results" class=${o.replaced?"replaced":""}>
      <${_e} query=${e} about=${o.about} onQuery=${n} />
      <${Pe} list=${o} query=${e} end=${p} ranked=${c} />
      ${o.about?.note&&t`<p class="note" role="note">${o.about.note}</p>`}
      ${o.error&&t`<${k} error=${o.error} retry=${()=>o.retry()} />`}
      <${ze} searched=${m} hits=${o.seen().filter(({rank:f})=>f<=Math.min(p??Oe,Oe))} query=${e} onQuery=${n} />
      <${ue} label="Images" list=${o} entity=${m} end=${p} bar=${t`<${Ue} about=${o.about} end=${p} total=${o.total} />`}
        onKey=${(f,d)=>{(d==="+"||d==="-")&&r(f.image,d==="+"?"more":"less")}}
        tile=${(f,d,M)=>t`<${We} hit=${f} active=${M} query=${e} ranked=${c}
          beyond=${p>0&&d>=p} onOpen=${()=>i(f.image)} onJudge=${r} />`} />
    </section>`}function _e({query:e,about:n,onQuery:s}){if(e.words&&e.text)return t`<ul class="chips senses" aria-label="What the text means"><li><${x} name="as words"
      onRemove=${()=>s({...e,words:!1})}>as words<//></li></ul>`;if(!e.text||e.entity||!n?.entity)return null;let[i,...u]=n.meant,l=o=>t`<strong>${o.name}</strong> <span class="faint">${J(o)}</span>`;return t`<ul class="chips senses" aria-label="What the text means">
    <li aria-current="true"><${x} kind="entity">${l(i)}<//></li>
    ${u.slice(0,Ae).map(o=>t`<li key=${o.id}><span class="chip"><button type="button" class="chip-text"
      title=${J(o)} onClick=${()=>{N([o]),s({...e,text:"",entity:o.id})}}>${l(o)}</button></span></li>`)}
    <li><span class="chip"><button type="button" class="chip-text" onClick=${()=>s({...e,words:!0})}>as words</button></span></li>
  </ul>`}function Pe({list:e,query:n,end:s,ranked:i}){let{about:u,total:l}=e,o=i?"closest first":l<w.value?.images&&!Object.values(n.filters).some(Boolean)?"near-duplicates are folded":"";return t`<div class="results-head">
    <p class="count">${s===null?t`<strong>${E(l)}</strong> ${l===1?"image":"images"}${o&&t`<span class="faint"> · ${o}</span>`}`:t`<strong>${s?E(s):"None"}</strong> likely${s<l&&t`<span class="faint"> · ${E(l-s)} ${s?"more ":""}below</span>`}`}</p>
    ${u?.uncalibrated&&t`<details class="faint why"><summary>Why ${s===null?"there are no probabilities":"some have no probability"}</summary>
      ${u.uncalibrated}</details>`}
  </div>`}function Ue({about:e,end:n,total:s}){let i=n?n>=s?`All ${E(s)} are likely.`:"End of what is likely.":`No run of results is expected to be ${H(e.until)} right.`,u=n?`About ${E(e.expected_right)} of ${b(n,"image")} above ${n===1?"is":"are"} right.${n<s?` Those below are ${e.uncalibrated?"less likely, or were not judged":"less likely"}.`:""}`:"The likeliest come first, but many of them will be wrong.";return t`<div class="bar-line" role="note"><div><strong>${i}</strong> <span>${u}</span></div></div>`}function We({hit:e,active:n,query:s,ranked:i,beyond:u,onOpen:l,onJudge:o}){let{image:c}=e,p=c.labels.find(m=>m.accepted),a=[i&&e.probability!==null&&`probability ${H(e.probability)}`,e.duplicates.length>0&&`with ${b(e.duplicates.length,"near-duplicate")}`].filter(Boolean).join(", "),r=(m,f,d)=>t`<button class=${`thumb ${m}`} tabindex=${n?0:-1} aria-label=${d} title=${d}
    aria-pressed=${s[m].includes(c.id)} onClick=${()=>o(c,m)}><${v} name=${f} /></button>`;return t`<${me} image=${c} active=${n} kind=${u?"beyond":""} about=${a} onOpen=${l}>
    <div class="tile-row">
      ${i?t`<${$e} value=${e.probability} />`:t`<span class="faint tile-label">${p?p.name:""}</span>`}
      ${e.duplicates.length>0&&t`<span class="badge" title=${`${b(e.duplicates.length,"near-duplicate")} folded in`}>
        +${e.duplicates.length}</span>`}
      <span class="thumbs">${r("more","up","More like this")}${r("less","down","Less like this")}</span>
    </div>
  <//>`}function ze({hits:e,searched:n,query:s,onQuery:i}){let u=ee(()=>{let l=new Map;for(let{image:o}of e)for(let{entity:c,name:p,accepted:a}of o.labels)a&&c!==n&&l.set(c,{entity:c,name:p,count:(l.get(c)?.count??0)+1});return[...l.values()].sort((o,c)=>c.count-o.count||o.name.localeCompare(c.name)).slice(0,Be)},[e.length,e[0],n]);return!u.length||s.filters.entity?null:t`<ul class="chips facets" aria-label="Entities among these images">
    ${u.map(({entity:l,name:o})=>t`<li key=${l}><span class="chip">
      <button type="button" class="chip-text" title=${`Only images labelled ${o}`}
        onClick=${()=>i({...s,filters:{...s.filters,entity:l}})}>${o}</button>
    </span></li>`)}
  </ul>`}var Ve=16;function Ie(){let{params:e}=T.value,n=X(e),[s,i]=h(n.text),[u,l]=h(null),[o,c]=h(!1),[p,a]=h(null);q(()=>{i(n.text)},[n.text]),g(()=>{G(n.entity),G(n.filters.entity??"")},[n.entity,n.filters.entity]);let r=($,y=!1)=>{l(null),y||scrollTo(0,0),K(j(["search"],de($)),y)},m=async $=>{l(null),c(!0),L("Sending the image.");try{let y=[];for(let W of $.slice(0,Ve-n.examples.length))y.push(await ke(W,w.value?.max_upload_bytes));let R=X(T.value.params),Re=y.map(W=>({upload:W,weight:1,region:null}));r({...R,examples:[...R.examples,...Re],more:[],less:[]})}catch(y){l(y)}finally{c(!1)}},f=Number(e.get("show"))||0,d=($,y=!1)=>{a($);let R=new URLSearchParams(e);R.set("show",String($.id)),K(j(["search"],R),y)},M=()=>{let $=new URLSearchParams(T.value.params);$.delete("show"),ie(j(["search"],$))},O={...n,more:[],less:[],words:!1},U=!e.toString();return t`
    <h1 class="unseen">Search</h1>
    <${Se} onFiles=${m} />
    <form class="search-box" role="search" onSubmit=${$=>{$.preventDefault(),r({...O,text:s.trim()})}}>
      <span class="search-field"><${v} name="search" />
        <${pe} label="Search images" placeholder="Describe or name what to find" value=${n.text}
          onInput=${i} onText=${$=>r({...O,text:$})}
          onEntity=${$=>{N([$]),r({...O,text:"",entity:$.id})}} /></span>
      <${Ee} onFiles=${m} />
      <button class="button main" type="submit">Search</button>
      <${xe} filters=${n.filters} columns=${w.value?.columns??[]}
        onFilters=${$=>r({...n,filters:$})} />
    </form>
    <${Te} query=${n} names=${D.value} onQuery=${$=>r($,!0)} />
    ${o&&t`<p class="waiting" role="status">Sending the image …</p>`}
    ${u&&t`<${k} error=${u} />`}
    ${U&&!u&&t`<p class="hint">Drop an image anywhere, paste one, or choose a file; or type. Below is the whole index.</p>`}
    <${Ce} query=${n} onQuery=${$=>r($)} onRefine=${$=>r($,!0)} onOpen=${d} />
    ${f>0&&t`<${I} of="Detail" id=${f} known=${p?.id===f?p:null} onClose=${M} onStep=${$=>d($,!0)}
      onSearch=${$=>r({...O,text:"",entity:"",examples:[$]})} />`}`}var Me={entities:"Entities",entity:"Entity",review:"Review",map:"MapView",images:"Images"},Ge={search:"Search",entities:"Entities",entity:"Entity",review:"Review",map:"Map",images:"Images"},He=[["search","Search"],["entities","Entities"],["review","Review"],["map","Map"]];function Je(){let{view:e,rest:n,params:s}=T.value,i=S(null),u=S(!0),l=`${e}/${n.join("/")}`,o=s.get("entity")??{entity:n[0],review:n[1]}[e]??"",c=s.get("text")||D.value[o]||o;g(()=>{u.current||(i.current.focus({preventScroll:!0}),ae.y||scrollTo(0,0)),u.current=!1},[l]),g(()=>{document.title=[...new Set([c,Ge[e]??"Not found","OpenMOFI"])].filter(Boolean).join(" \xB7 ")});let p=e==="entity"?"entities":e;return t`
    <a class="skip" href="#main" onClick=${a=>{a.preventDefault(),i.current.focus()}}>To the content</a>
    <header class="top"><div class="top-row">
      <a class="brand" href="#/search"><img src=${ve} alt="" width="26" height="26" /><span>OpenMOFI</span></a>
      <nav aria-label="Views">${He.map(([a,r])=>t`<a key=${a} href=${`#/${a}`}
        aria-current=${a===p?"page":void 0}>${r}</a>`)}</nav>
      ${w.value&&t`<p class="index-size">${b(w.value.images,"image")}, ${b(w.value.entities,"entity","entities")}</p>`}
    </div></header>
    <main id="main" ref=${i} tabindex="-1">
      ${V.value&&!w.value?t`<h1 class="unseen">OpenMOFI</h1><${k} error=${V.value} retry=${re} />`:t`<${Ke} key=${ne.value} />`}
    </main>
    <${le} />
    ${te.value&&t`<${Xe} />`}`}function Ke(){let{view:e,rest:n}=T.value;return e==="search"?t`<${Ie} key=${n[0]} />`:Object.hasOwn(Me,e)?t`<${I} key=${`${e}/${e==="review"?"":n[0]}`} of=${Me[e]} />`:t`<h1 class="unseen">Not found</h1><${B} title="There is no such view"><p><a href="#/search">Go to the search</a></p><//>`}function Xe(){let[e,n]=h(null),s=S(null);return t`<${ce} title="This server asks for its token" closable=${!1} onClose=${()=>{}}>
    <form class="token" onSubmit=${async u=>{u.preventDefault();try{await C.signIn(s.current.value.trim())}catch(l){n(l)}}}>
      <p>It is in the address that openmofi serve printed; whoever started the server has it.</p>
      <label class="field"><span>Token</span><input ref=${s} type="password" autocomplete="current-password" required
        aria-describedby="token-error" /></label>
      <p id="token-error" class="error-text" role="alert">${e&&`${e.message} ${e.hint}`}</p>
      <button class="button main" type="submit">Continue</button>
    </form><//>`}se();Q(t`<${Je} />`,document.getElementById("app"));
