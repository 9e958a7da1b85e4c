import{$ as fe,A as X,E as T,F as ce,G as M,H as Y,I as pe,J as w,K as D,L as ue,M as k,N as A,O as P,P as $e,W as me,a as te,aa as he,b as d,c as b,ca as de,d as ne,e as E,ea as Q,f as oe,fa as _,g as G,ga as ge,h as t,ha as be,i as j,ia as ve,j as se,ja as we,k as re,ka as x,l as C,m as ae,o as g,p as H,q as N,s as ie,t as le,u as B,v as J,w as O,x as v,y as K}from"./chunk-3ZDTJGE2.js";var ye='data:image/svg+xml,<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="%230b6e72"/><rect x="7" y="7" width="8" height="8" rx="2" fill="%23fff"/><rect x="17" y="7" width="8" height="8" rx="2" fill="%23fff" opacity=".55"/><rect x="7" y="17" width="8" height="8" rx="2" fill="%23fff" opacity=".55"/><circle cx="21" cy="21" r="4" fill="none" stroke="%23ffd166" stroke-width="2.6"/><path d="M24 24l3 3" stroke="%23ffd166" stroke-width="2.6" stroke-linecap="round"/></svg>%0A';var U=G(null),W=G(null);function Z(){U.value||(W.value=null,import("./later-LAB2I3HS.js").then(e=>{U.value=e},()=>{W.value=new j(0,"A part of the page cannot be loaded.","The server may have been stopped, or is of another version now: load the page again.")}))}for(let e of["pointermove","pointerdown","keydown"])addEventListener(e,Z,{once:!0,passive:!0});function R({of:e,...n}){return b(Z,[]),U.value?t`<${U.value[e]} ...${n} />`:W.value?t`<${k} error=${W.value} retry=${Z} />`:t`<${P} />`}var ke=new Map,je=20<<20,xe=e=>ke.get(e);async function Se(e,n){let s=new j(413,`${e.name||"The image"} is too large (${Math.round(e.size/1e6)} MB).`,`${n?`At most ${Math.floor(n/1e6)} MB are taken. `:""}Make the image smaller, then try again.`);if(n&&e.size>n)throw s;try{let{upload:r}=await C.upload(e);return ke.set(r,URL.createObjectURL(e)),r}catch(r){throw r.status===0&&e.size>je?s:r}}var q=e=>[...e?.files??[]];function Ee({onFiles:e}){let[n,s]=d(!1),r=E(e);return r.current=e,b(()=>{let p=i=>i.dataTransfer?.types.includes("Files"),m={dragover:i=>{p(i)&&(i.preventDefault(),s(!0))},dragleave:i=>{i.relatedTarget||s(!1)},drop:i=>{p(i)&&(i.preventDefault(),s(!1),r.current(q(i.dataTransfer)))},paste:i=>{let f=q(i.clipboardData);f.length&&(i.preventDefault(),r.current(f))}};return Object.entries(m).forEach(([i,f])=>addEventListener(i,f)),()=>Object.entries(m).forEach(([i,f])=>removeEventListener(i,f))},[]),n&&t`<div class="drop" aria-hidden="true"><p>Drop the image to search with it</p></div>`}function Oe({onFiles:e}){let n=E(null);return t`<button type="button" class="button pick" onClick=${()=>n.current.click()}>
      <${w} name="image" />Image
    </button>
    <input ref=${n} type="file" accept="image/*" hidden tabindex="-1" aria-label="Image to search with" onChange=${s=>{let r=[...s.currentTarget.files];s.currentTarget.value="",r.length&&e(r)}} />`}function Te({query:e,names:n,onQuery:s}){let r=a=>s({...e,examples:e.examples.filter((m,i)=>i!==a)}),p=(a,m)=>s({...e,examples:e.examples.map((i,f)=>f===a?{...i,...m}:i)}),l=e.filters.entity,o=a=>s({...e,filters:{...e.filters,[a]:""}});return e.entity||e.examples.length||e.more.length||e.less.length||l?t`<ul class="chips query-chips" aria-label="The query">
    ${e.entity&&t`<li><${x} kind="entity" name=${n[e.entity]??e.entity}
      onRemove=${()=>s({...e,entity:""})}>${n[e.entity]??e.entity}<//></li>`}
    ${e.examples.map((a,m)=>t`<li key=${`${a.upload??a.image}-${m}`}>
      <${Ne} example=${a} onRemove=${()=>r(m)} onChange=${i=>p(m,i)} /></li>`)}
    ${e.more.length>0&&t`<li><${x} name="what was marked as right" kind="right"
      onRemove=${()=>s({...e,more:[]})}>${v(e.more.length,"image")} more like this<//></li>`}
    ${e.less.length>0&&t`<li><${x} name="what was marked as wrong" kind="wrong"
      onRemove=${()=>s({...e,less:[]})}>${v(e.less.length,"image")} less like this<//></li>`}
    ${l&&t`<li><${x} name="the filter" onRemove=${()=>o("entity")}>only ${n[l]??l}<//></li>`}
  </ul>`:null}function Ne({example:e,onRemove:n,onChange:s}){let[r,p]=d(!1),l=e.upload?xe(e.upload):ae({id:e.image}),o=e.upload?"your image":`image ${e.image}`,c=e.weight<0;return t`<span class=${`chip example ${c?"wrong":""}`}>
    <button type="button" class="example-image" aria-label=${`${o}: select a region or recognise`} onClick=${()=>p(!0)}>
      ${l?t`<img src=${l} alt="" />`:t`<${w} name="image" />`}
      ${e.region&&t`<span class="region-mark" style=${{left:`${e.region[0]*100}%`,top:`${e.region[1]*100}%`,width:`${(e.region[2]-e.region[0])*100}%`,height:`${(e.region[3]-e.region[1])*100}%`}} />`}
    </button>
    <button type="button" class="sign" aria-pressed=${c} aria-label=${`Less like ${o}`}
      title=${c?"less like this":"more like this"} onClick=${()=>s({weight:-e.weight})}>${c?"\u2212":"+"}</button>
    <button type="button" class="chip-remove" aria-label=${`Remove ${o}`} onClick=${n}><${w} name="close" /></button>
    ${r&&t`<${R} of="ExampleDialog" example=${e} src=${l} name=${o} onClose=${()=>p(!1)}
      onRegion=${a=>{p(!1),s({region:a})}} />`}
  </span>`}var Be={"":"as they came in",newest:"newest first",oldest:"oldest first"},Ae=10,Pe=5,Re=100;function Ie({query:e,onQuery:n,onRefine:s,onOpen:r}){let p=ge(e),l=JSON.stringify(p),o=we(async($,h,S)=>{let{hits:F,total:z,...I}=await C.search({...p,limit:h,offset:$},S);return{items:F,total:z,about:I}},l),c=be(e),a=c&&o.about?.end!=null?Math.min(o.about.end,o.total):null,m=a===null?v(o.total,"image"):`${a?O(a):"None"} likely`;if(b(()=>{o.total!==null&&!o.replaced&&D(o.total?`${m}.`:"Nothing was found.")},[o.total,o.replaced,l]),o.error&&o.total===null)return t`<${k} error=${o.error} retry=${()=>o.retry()} />`;if(o.total===null)return t`<${P} what="Searching" />`;if(o.total===0){let $=Object.values(e.filters).some(Boolean);return t`<${A} title=${c||$?"Nothing was found":"The index is empty"}>
      <p>${$?"No image passes the filters.":c?"Say it in other words.":"Images come in with openmofi index add."}</p>
      ${$&&t`<button class="button" onClick=${()=>n({...e,filters:{}})}>Remove the filters</button>`}<//>`}let i=($,h)=>{D(h==="more"?"More like this.":"Less like this."),s(ve(e,$.id,h))},f=e.entity||o.about?.entity||e.filters.entity;return t`
    <section aria-label="Results" class=${o.replaced?"replaced":""}>
      <${_e} query=${e} about=${o.about} onQuery=${n} />
      <${Ue} list=${o} query=${e} end=${a} ranked=${c} onQuery=${n} />
      ${o.about?.note&&t`<p class="note" role="note">${o.about.note}</p>`}
      ${o.error&&t`<${k} error=${o.error} retry=${()=>o.retry()} />`}
      <${Ve} searched=${f} hits=${o.seen().filter(({rank:$})=>$<=Math.min(a??Re,Re))} query=${e} onQuery=${n} />
      <${fe} label="Images" list=${o} entity=${f} end=${a} bar=${t`<${We} about=${o.about} end=${a} total=${o.total} />`}
        onKey=${($,h)=>{(h==="+"||h==="-")&&i($.image,h==="+"?"more":"less")}}
        tile=${($,h,S)=>t`<${ze} hit=${$} active=${S} query=${e} ranked=${c}
          beyond=${a>0&&h>=a} onOpen=${()=>r($.image)} onJudge=${i} />`} />
    </section>`}function _e({query:e,about:n,onQuery:s}){if(e.words&&e.text)return t`<ul class="chips senses" aria-label="What the text means"><li><${x} name="as words"
      onRemove=${()=>s({...e,words:!1})}>as words<//></li></ul>`;if(!e.text||e.entity||!n?.entity)return null;let[r,...p]=n.meant,l=o=>t`<strong>${o.name}</strong> <span class="faint">${X(o)}</span>`;return t`<ul class="chips senses" aria-label="What the text means">
    <li aria-current="true"><${x} kind="entity">${l(r)}<//></li>
    ${p.slice(0,Pe).map(o=>t`<li key=${o.id}><span class="chip"><button type="button" class="chip-text"
      title=${X(o)} onClick=${()=>{B([o]),s({...e,text:"",entity:o.id})}}>${l(o)}</button></span></li>`)}
    <li><span class="chip"><button type="button" class="chip-text" onClick=${()=>s({...e,words:!0})}>as words</button></span></li>
  </ul>`}function Ue({list:e,query:n,end:s,ranked:r,onQuery:p}){let{about:l,total:o}=e,c=r?"closest first":o<g.value?.images&&!Object.values(n.filters).some(Boolean)?"near-duplicates are folded":"";return t`<div class="results-head">
    <p class="count">${s===null?t`<strong>${O(o)}</strong> ${o===1?"image":"images"}${c&&t`<span class="faint"> · ${c}</span>`}`:t`<strong>${s?O(s):"None"}</strong> likely${s<o&&t`<span class="faint"> · ${O(o-s)} ${s?"more ":""}below</span>`}`}</p>
    ${r&&g.value?.map&&t`<a href=${M(["map"],_(n))}>On the map</a>`}
    ${!r&&g.value?.columns.includes("date")&&t`<label class="field inline"><span>Order</span>
      <select value=${n.order} onChange=${a=>p({...n,order:a.currentTarget.value})}>
        ${Object.entries(Be).map(([a,m])=>t`<option value=${a} selected=${a===n.order}>${m}</option>`)}
      </select></label>`}
    ${l?.uncalibrated&&t`<details class="faint why"><summary>Why ${s===null?"there are no probabilities":"some have no probability"}</summary>
      ${l.uncalibrated}</details>`}
  </div>`}function We({about:e,end:n,total:s}){let r=n?n>=s?`All ${O(s)} are likely.`:"End of what is likely.":`No run of results is expected to be ${K(e.until)} right.`,p=n?`About ${O(e.expected_right)} of ${v(n,"image")} above ${n===1?"is":"are"} right.${n<s?` Those below are ${e.uncalibrated?"less likely, or were not judged":"less likely"}.`:""}`:"The likeliest come first, but many of them will be wrong.";return t`<div class="bar-line" role="note"><div><strong>${r}</strong> <span>${p}</span></div></div>`}function ze({hit:e,active:n,query:s,ranked:r,beyond:p,onOpen:l,onJudge:o}){let{image:c}=e,a=c.labels.find(f=>f.accepted),m=[r&&e.probability!==null&&`probability ${K(e.probability)}`,e.duplicates.length>0&&`with ${v(e.duplicates.length,"near-duplicate")}`].filter(Boolean).join(", "),i=(f,$,h)=>t`<button class=${`thumb ${f}`} tabindex=${n?0:-1} aria-label=${h} title=${h}
    aria-pressed=${s[f].includes(c.id)} onClick=${()=>o(c,f)}><${w} name=${$} /></button>`;return t`<${de} image=${c} active=${n} kind=${p?"beyond":""} about=${m} onOpen=${l}>
    <div class="tile-row">
      ${r?t`<${he} value=${e.probability} />`:t`<span class="faint tile-label">${a?a.name:""}</span>`}
      ${e.duplicates.length>0&&t`<span class="badge" title=${`${v(e.duplicates.length,"near-duplicate")} folded in`}>
        +${e.duplicates.length}</span>`}
      <span class="thumbs">${i("more","up","More like this")}${i("less","down","Less like this")}</span>
    </div>
  <//>`}function Ve({hits:e,searched:n,query:s,onQuery:r}){let p=oe(()=>{let l=new Map;for(let{image:o}of e)for(let{entity:c,name:a,accepted:m}of o.labels)m&&c!==n&&l.set(c,{entity:c,name:a,count:(l.get(c)?.count??0)+1});return[...l.values()].sort((o,c)=>c.count-o.count||o.name.localeCompare(c.name)).slice(0,Ae)},[e.length,e[0],n]);return!p.length||s.filters.entity?null:t`<ul class="chips facets" aria-label="Entities among these images">
    ${p.map(({entity:l,name:o})=>t`<li key=${l}><span class="chip">
      <button type="button" class="chip-text" title=${`Only images labelled ${o}`}
        onClick=${()=>r({...s,filters:{...s.filters,entity:l}})}>${o}</button>
    </span></li>`)}
  </ul>`}var Ge=16;function Ce(){let{params:e}=T.value,n=Q(e),[s,r]=d(n.text),[p,l]=d(null),[o,c]=d(!1),[a,m]=d(null),[i,f]=d(!1);ne(()=>{r(n.text)},[n.text]),b(()=>{J(n.entity),J(n.filters.entity??"")},[n.entity,n.filters.entity]);let $=(u,y=!1)=>{l(null),y||scrollTo(0,0),Y(M(["search"],_(u)),y)},h=async u=>{l(null),c(!0),D("Sending the image.");try{let y=[];for(let V of u.slice(0,Ge-n.examples.length))y.push(await Se(V,g.value?.max_upload_bytes));let L=Q(T.value.params),De=y.map(V=>({upload:V,weight:1,region:null}));$({...L,examples:[...L.examples,...De],more:[],less:[]})}catch(y){l(y)}finally{c(!1)}},S=Number(e.get("show"))||0,F=(u,y=!1)=>{m(u);let L=new URLSearchParams(e);L.set("show",String(u.id)),Y(M(["search"],L),y)},z=()=>{let u=new URLSearchParams(T.value.params);u.delete("show"),pe(M(["search"],u))},I={...n,more:[],less:[],words:!1},ee=Object.values(n.filters).filter(Boolean).length,Le=!e.toString();return t`
    <h1 class="unseen">Search</h1>
    <${Ee} onFiles=${h} />
    <form class="search-box" role="search" onSubmit=${u=>{u.preventDefault(),$({...I,text:s.trim()})}}>
      <span class="search-field"><${w} name="search" />
        <${me} label="Search images" placeholder="Describe or name what to find" value=${n.text}
          onInput=${r} onText=${u=>$({...I,text:u})}
          onEntity=${u=>{B([u]),$({...I,text:"",entity:u.id})}} /></span>
      <${Oe} onFiles=${h} />
      <button class="button main" type="submit">Search</button>
      <button type="button" class="button" aria-expanded=${i} aria-controls="filters" onClick=${()=>f(!i)}>
        <${w} name="filter" />Filters${ee>0&&t`<span class="badge">${ee}</span>`}</button>
    </form>
    <${Te} query=${n} names=${N.value} onQuery=${u=>$(u,!0)} />
    ${o&&t`<p class="waiting" role="status">Sending the image …</p>`}
    ${p&&t`<${k} error=${p} />`}
    ${Le&&!p&&t`<p class="hint">Drop an image anywhere, paste one, or choose a file; or type. Below is the whole index.</p>`}
    <div class=${i?"railed":""}>
      ${i&&t`<${R} of="Rail" query=${n} columns=${g.value?.columns??[]}
        onFilters=${u=>$({...n,filters:u})} />`}
      <div><${Ie} query=${n} onQuery=${u=>$(u)} onRefine=${u=>$(u,!0)} onOpen=${F} /></div>
    </div>
    ${S>0&&t`<${R} of="Detail" id=${S} known=${a?.id===S?a:null} onClose=${z} onStep=${u=>F(u,!0)}
      onSearch=${u=>$({...I,text:"",entity:"",examples:[u]})} />`}`}var Me={entities:"Entities",entity:"Entity",review:"Review",map:"MapView",images:"Images"},He={search:"Search",entities:"Entities",entity:"Entity",review:"Review",map:"Map",images:"Images"},Je=[["search","Search"],["entities","Entities"],["review","Review"],["map","Map"]];function Ke(){let{view:e,rest:n,params:s}=T.value,r=E(null),p=E(!0),l=`${e}/${n.join("/")}`,o=s.get("entity")??{entity:n[0],review:n[1]}[e]??"",c=s.get("text")||N.value[o]||o;b(()=>{p.current||(r.current.focus({preventScroll:!0}),ce.y||scrollTo(0,0)),p.current=!1},[l]),b(()=>{document.title=[...new Set([c,He[e]??"Not found","OpenMOFI"])].filter(Boolean).join(" \xB7 ")});let a=e==="entity"?"entities":e;return t`
    <a class="skip" href="#main" onClick=${m=>{m.preventDefault(),r.current.focus()}}>To the content</a>
    <header class="top"><div class="top-row">
      <a class="brand" href="#/search"><img src=${ye} alt="" width="26" height="26" /><span>OpenMOFI</span></a>
      <nav aria-label="Views">${Je.map(([m,i])=>t`<a key=${m} href=${`#/${m}`}
        aria-current=${m===a?"page":void 0}>${i}</a>`)}</nav>
      ${g.value&&t`<p class="index-size">${v(g.value.images,"image")}, ${v(g.value.entities,"entity","entities")}</p>`}
    </div></header>
    <main id="main" ref=${r} tabindex="-1">
      ${H.value&&!g.value?t`<h1 class="unseen">OpenMOFI</h1><${k} error=${H.value} retry=${le} />`:t`<${Xe} key=${re.value} />`}
    </main>
    <${ue} />
    ${se.value&&t`<${Ye} />`}`}function Xe(){let{view:e,rest:n}=T.value;return e==="search"?t`<${Ce} key=${n[0]} />`:Object.hasOwn(Me,e)?t`<${R} key=${`${e}/${e==="review"?"":n[0]}`} of=${Me[e]} />`:t`<h1 class="unseen">Not found</h1><${A} title="There is no such view"><p><a href="#/search">Go to the search</a></p><//>`}function Ye(){let[e,n]=d(null),s=E(null);return t`<${$e} title="This server asks for its token" closable=${!1} onClose=${()=>{}}>
    <form class="token" onSubmit=${async p=>{p.preventDefault();try{await C.signIn(s.current.value.trim())}catch(l){n(l)}}}>
      <p>It is in the address that openmofi serve printed; whoever started the server has it.</p>
      <label class="field"><span>Token</span><input ref=${s} type="password" autocomplete="current-password" required
        aria-describedby="token-error" /></label>
      <p id="token-error" class="error-text" role="alert">${e&&`${e.message} ${e.hint}`}</p>
      <button class="button main" type="submit">Continue</button>
    </form><//>`}ie();te(t`<${Ke} />`,document.getElementById("app"));
