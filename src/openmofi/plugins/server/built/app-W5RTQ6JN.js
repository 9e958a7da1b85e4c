import{$ as me,A as K,E as T,F as le,G as B,H as X,I as ce,J as w,K as L,L as ue,M as k,N as A,O as P,P as pe,W as $e,a as ee,aa as fe,b as h,c as g,ca as de,d as te,e as E,ea as Y,f as ne,fa as he,g as V,ga as ge,h as t,ha as be,i as F,ia as ve,j as oe,ja as we,k as se,ka as x,l as C,m as re,o as b,p as G,q as j,s as ae,t as ie,u as N,v as H,w as O,x as v,y as J}from"./chunk-S5677SJP.js";var ye='data:image/svg+xml,<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="%230b6e72"/><rect x="7" y="7" width="8" height="8" rx="2" fill="%23fff"/><rect x="17" y="7" width="8" height="8" rx="2" fill="%23fff" opacity=".55"/><rect x="7" y="17" width="8" height="8" rx="2" fill="%23fff" opacity=".55"/><circle cx="21" cy="21" r="4" fill="none" stroke="%23ffd166" stroke-width="2.6"/><path d="M24 24l3 3" stroke="%23ffd166" stroke-width="2.6" stroke-linecap="round"/></svg>%0A';var _=V(null),U=V(null);function Z(){_.value||(U.value=null,import("./later-5P6MEAWL.js").then(e=>{_.value=e},()=>{U.value=new F(0,"A part of the page cannot be loaded.","The server may have been stopped, or is of another version now: load the page again.")}))}for(let e of["pointermove","pointerdown","keydown"])addEventListener(e,Z,{once:!0,passive:!0});function R({of:e,...n}){return g(Z,[]),_.value?t`<${_.value[e]} ...${n} />`:U.value?t`<${k} error=${U.value} retry=${Z} />`:t`<${P} />`}var ke=new Map,je=20<<20,xe=e=>ke.get(e);async function Se(e,n){let s=new F(413,`${e.name||"The image"} is too large (${Math.round(e.size/1e6)} MB).`,`${n?`At most ${Math.floor(n/1e6)} MB are taken. `:""}Make the image smaller, then try again.`);if(n&&e.size>n)throw s;try{let{upload:r}=await C.upload(e);return ke.set(r,URL.createObjectURL(e)),r}catch(r){throw r.status===0&&e.size>je?s:r}}var Q=e=>[...e?.files??[]];function Ee({onFiles:e}){let[n,s]=h(!1),r=E(e);return r.current=e,g(()=>{let u=i=>i.dataTransfer?.types.includes("Files"),m={dragover:i=>{u(i)&&(i.preventDefault(),s(!0))},dragleave:i=>{i.relatedTarget||s(!1)},drop:i=>{u(i)&&(i.preventDefault(),s(!1),r.current(Q(i.dataTransfer)))},paste:i=>{let f=Q(i.clipboardData);f.length&&(i.preventDefault(),r.current(f))}};return Object.entries(m).forEach(([i,f])=>addEventListener(i,f)),()=>Object.entries(m).forEach(([i,f])=>removeEventListener(i,f))},[]),n&&t`<div class="drop" aria-hidden="true"><p>Drop the image to search with it</p></div>`}function Oe({onFiles:e}){let n=E(null);return t`<button type="button" class="button pick" onClick=${()=>n.current.click()}>
      <${w} name="image" />Image
    </button>
    <input ref=${n} type="file" accept="image/*" hidden tabindex="-1" aria-label="Image to search with" onChange=${s=>{let r=[...s.currentTarget.files];s.currentTarget.value="",r.length&&e(r)}} />`}function Te({query:e,names:n,onQuery:s}){let r=a=>s({...e,examples:e.examples.filter((m,i)=>i!==a)}),u=(a,m)=>s({...e,examples:e.examples.map((i,f)=>f===a?{...i,...m}:i)}),l=e.filters.entity,o=a=>s({...e,filters:{...e.filters,[a]:""}});return e.entity||e.examples.length||e.more.length||e.less.length||l?t`<ul class="chips query-chips" aria-label="The query">
    ${e.entity&&t`<li><${x} kind="entity" name=${n[e.entity]??e.entity}
      onRemove=${()=>s({...e,entity:""})}>${n[e.entity]??e.entity}<//></li>`}
    ${e.examples.map((a,m)=>t`<li key=${`${a.upload??a.image}-${m}`}>
      <${Ne} example=${a} onRemove=${()=>r(m)} onChange=${i=>u(m,i)} /></li>`)}
    ${e.more.length>0&&t`<li><${x} name="what was marked as right" kind="right"
      onRemove=${()=>s({...e,more:[]})}>${v(e.more.length,"image")} more like this<//></li>`}
    ${e.less.length>0&&t`<li><${x} name="what was marked as wrong" kind="wrong"
      onRemove=${()=>s({...e,less:[]})}>${v(e.less.length,"image")} less like this<//></li>`}
    ${l&&t`<li><${x} name="the filter" onRemove=${()=>o("entity")}>only ${n[l]??l}<//></li>`}
  </ul>`:null}function Ne({example:e,onRemove:n,onChange:s}){let[r,u]=h(!1),l=e.upload?xe(e.upload):re({id:e.image}),o=e.upload?"your image":`image ${e.image}`,c=e.weight<0;return t`<span class=${`chip example ${c?"wrong":""}`}>
    <button type="button" class="example-image" aria-label=${`${o}: select a region or recognise`} onClick=${()=>u(!0)}>
      ${l?t`<img src=${l} alt="" />`:t`<${w} name="image" />`}
      ${e.region&&t`<span class="region-mark" style=${{left:`${e.region[0]*100}%`,top:`${e.region[1]*100}%`,width:`${(e.region[2]-e.region[0])*100}%`,height:`${(e.region[3]-e.region[1])*100}%`}} />`}
    </button>
    <button type="button" class="sign" aria-pressed=${c} aria-label=${`Less like ${o}`}
      title=${c?"less like this":"more like this"} onClick=${()=>s({weight:-e.weight})}>${c?"\u2212":"+"}</button>
    <button type="button" class="chip-remove" aria-label=${`Remove ${o}`} onClick=${n}><${w} name="close" /></button>
    ${r&&t`<${R} of="ExampleDialog" example=${e} src=${l} name=${o} onClose=${()=>u(!1)}
      onRegion=${a=>{u(!1),s({region:a})}} />`}
  </span>`}var Be={"":"as they came in",newest:"newest first",oldest:"oldest first"},Ae=10,Pe=5,Re=100;function Ie({query:e,onQuery:n,onRefine:s,onOpen:r}){let u=ge(e),l=JSON.stringify(u),o=we(async($,d,S)=>{let{hits:D,total:W,...I}=await C.search({...u,limit:d,offset:$},S);return{items:D,total:W,about:I}},l),c=be(e),a=c&&o.about?.end!=null?Math.min(o.about.end,o.total):null,m=a===null?v(o.total,"image"):`${a?O(a):"None"} likely`;if(g(()=>{o.total!==null&&!o.replaced&&L(o.total?`${m}.`:"Nothing was found.")},[o.total,o.replaced,l]),o.error&&o.total===null)return t`<${k} error=${o.error} retry=${()=>o.retry()} />`;if(o.total===null)return t`<${P} what="Searching" />`;if(o.total===0){let $=Object.values(e.filters).some(Boolean);return t`<${A} title=${c||$?"Nothing was found":"The index is empty"}>
      <p>${$?"No image passes the filters.":c?"Say it in other words.":"Images come in with openmofi index add."}</p>
      ${$&&t`<button class="button" onClick=${()=>n({...e,filters:{}})}>Remove the filters</button>`}<//>`}let i=($,d)=>{L(d==="more"?"More like this.":"Less like this."),s(ve(e,$.id,d))},f=e.entity||o.about?.entity||e.filters.entity;return t`
    <section aria-label="Results" class=${o.replaced?"replaced":""}>
      <${_e} query=${e} about=${o.about} onQuery=${n} />
      <${Ue} list=${o} query=${e} end=${a} ranked=${c} onQuery=${n} />
      ${o.about?.note&&t`<p class="note" role="note">${o.about.note}</p>`}
      ${o.error&&t`<${k} error=${o.error} retry=${()=>o.retry()} />`}
      <${Ve} searched=${f} hits=${o.seen().filter(({rank:$})=>$<=Math.min(a??Re,Re))} query=${e} onQuery=${n} />
      <${me} label="Images" list=${o} entity=${f} end=${a} bar=${t`<${We} about=${o.about} end=${a} total=${o.total} />`}
        onKey=${($,d)=>{(d==="+"||d==="-")&&i($.image,d==="+"?"more":"less")}}
        tile=${($,d,S)=>t`<${ze} hit=${$} active=${S} query=${e} ranked=${c}
          beyond=${a>0&&d>=a} onOpen=${()=>r($.image)} onJudge=${i} />`} />
    </section>`}function _e({query:e,about:n,onQuery:s}){if(e.words&&e.text)return t`<ul class="chips senses" aria-label="What the text means"><li><${x} name="as words"
      onRemove=${()=>s({...e,words:!1})}>as words<//></li></ul>`;if(!e.text||e.entity||!n?.entity)return null;let[r,...u]=n.meant,l=o=>t`<strong>${o.name}</strong> <span class="faint">${K(o)}</span>`;return t`<ul class="chips senses" aria-label="What the text means">
    <li aria-current="true"><${x} kind="entity">${l(r)}<//></li>
    ${u.slice(0,Pe).map(o=>t`<li key=${o.id}><span class="chip"><button type="button" class="chip-text"
      title=${K(o)} onClick=${()=>{N([o]),s({...e,text:"",entity:o.id})}}>${l(o)}</button></span></li>`)}
    <li><span class="chip"><button type="button" class="chip-text" onClick=${()=>s({...e,words:!0})}>as words</button></span></li>
  </ul>`}function Ue({list:e,query:n,end:s,ranked:r,onQuery:u}){let{about:l,total:o}=e,c=r?"closest first":o<b.value?.images&&!Object.values(n.filters).some(Boolean)?"near-duplicates are folded":"";return t`<div class="results-head">
    <p class="count">${s===null?t`<strong>${O(o)}</strong> ${o===1?"image":"images"}${c&&t`<span class="faint"> · ${c}</span>`}`:t`<strong>${s?O(s):"None"}</strong> likely${s<o&&t`<span class="faint"> · ${O(o-s)} ${s?"more ":""}below</span>`}`}</p>
    ${!r&&b.value?.columns.includes("date")&&t`<label class="field inline"><span>Order</span>
      <select value=${n.order} onChange=${a=>u({...n,order:a.currentTarget.value})}>
        ${Object.entries(Be).map(([a,m])=>t`<option value=${a} selected=${a===n.order}>${m}</option>`)}
      </select></label>`}
    ${l?.uncalibrated&&t`<details class="faint why"><summary>Why ${s===null?"there are no probabilities":"some have no probability"}</summary>
      ${l.uncalibrated}</details>`}
  </div>`}function We({about:e,end:n,total:s}){let r=n?n>=s?`All ${O(s)} are likely.`:"End of what is likely.":`No run of results is expected to be ${J(e.until)} right.`,u=n?`About ${O(e.expected_right)} of ${v(n,"image")} above ${n===1?"is":"are"} right.${n<s?` Those below are ${e.uncalibrated?"less likely, or were not judged":"less likely"}.`:""}`:"The likeliest come first, but many of them will be wrong.";return t`<div class="bar-line" role="note"><div><strong>${r}</strong> <span>${u}</span></div></div>`}function ze({hit:e,active:n,query:s,ranked:r,beyond:u,onOpen:l,onJudge:o}){let{image:c}=e,a=c.labels.find(f=>f.accepted),m=[r&&e.probability!==null&&`probability ${J(e.probability)}`,e.duplicates.length>0&&`with ${v(e.duplicates.length,"near-duplicate")}`].filter(Boolean).join(", "),i=(f,$,d)=>t`<button class=${`thumb ${f}`} tabindex=${n?0:-1} aria-label=${d} title=${d}
    aria-pressed=${s[f].includes(c.id)} onClick=${()=>o(c,f)}><${w} name=${$} /></button>`;return t`<${de} image=${c} active=${n} kind=${u?"beyond":""} about=${m} onOpen=${l}>
    <div class="tile-row">
      ${r?t`<${fe} value=${e.probability} />`:t`<span class="faint tile-label">${a?a.name:""}</span>`}
      ${e.duplicates.length>0&&t`<span class="badge" title=${`${v(e.duplicates.length,"near-duplicate")} folded in`}>
        +${e.duplicates.length}</span>`}
      <span class="thumbs">${i("more","up","More like this")}${i("less","down","Less like this")}</span>
    </div>
  <//>`}function Ve({hits:e,searched:n,query:s,onQuery:r}){let u=ne(()=>{let l=new Map;for(let{image:o}of e)for(let{entity:c,name:a,accepted:m}of o.labels)m&&c!==n&&l.set(c,{entity:c,name:a,count:(l.get(c)?.count??0)+1});return[...l.values()].sort((o,c)=>c.count-o.count||o.name.localeCompare(c.name)).slice(0,Ae)},[e.length,e[0],n]);return!u.length||s.filters.entity?null:t`<ul class="chips facets" aria-label="Entities among these images">
    ${u.map(({entity:l,name:o})=>t`<li key=${l}><span class="chip">
      <button type="button" class="chip-text" title=${`Only images labelled ${o}`}
        onClick=${()=>r({...s,filters:{...s.filters,entity:l}})}>${o}</button>
    </span></li>`)}
  </ul>`}var Ge=16;function Ce(){let{params:e}=T.value,n=Y(e),[s,r]=h(n.text),[u,l]=h(null),[o,c]=h(!1),[a,m]=h(null),[i,f]=h(!1);te(()=>{r(n.text)},[n.text]),g(()=>{H(n.entity),H(n.filters.entity??"")},[n.entity,n.filters.entity]);let $=(p,y=!1)=>{l(null),y||scrollTo(0,0),X(B(["search"],he(p)),y)},d=async p=>{l(null),c(!0),L("Sending the image.");try{let y=[];for(let z of p.slice(0,Ge-n.examples.length))y.push(await Se(z,b.value?.max_upload_bytes));let M=Y(T.value.params),De=y.map(z=>({upload:z,weight:1,region:null}));$({...M,examples:[...M.examples,...De],more:[],less:[]})}catch(y){l(y)}finally{c(!1)}},S=Number(e.get("show"))||0,D=(p,y=!1)=>{m(p);let M=new URLSearchParams(e);M.set("show",String(p.id)),X(B(["search"],M),y)},W=()=>{let p=new URLSearchParams(T.value.params);p.delete("show"),ce(B(["search"],p))},I={...n,more:[],less:[],words:!1},q=Object.values(n.filters).filter(Boolean).length,Le=!e.toString();return t`
    <h1 class="unseen">Search</h1>
    <${Ee} onFiles=${d} />
    <form class="search-box" role="search" onSubmit=${p=>{p.preventDefault(),$({...I,text:s.trim()})}}>
      <span class="search-field"><${w} name="search" />
        <${$e} label="Search images" placeholder="Describe or name what to find" value=${n.text}
          onInput=${r} onText=${p=>$({...I,text:p})}
          onEntity=${p=>{N([p]),$({...I,text:"",entity:p.id})}} /></span>
      <${Oe} onFiles=${d} />
      <button class="button main" type="submit">Search</button>
      <button type="button" class="button" aria-expanded=${i} aria-controls="filters" onClick=${()=>f(!i)}>
        <${w} name="filter" />Filters${q>0&&t`<span class="badge">${q}</span>`}</button>
    </form>
    <${Te} query=${n} names=${j.value} onQuery=${p=>$(p,!0)} />
    ${o&&t`<p class="waiting" role="status">Sending the image …</p>`}
    ${u&&t`<${k} error=${u} />`}
    ${Le&&!u&&t`<p class="hint">Drop an image anywhere, paste one, or choose a file; or type. Below is the whole index.</p>`}
    <div class=${i?"railed":""}>
      ${i&&t`<${R} of="Rail" query=${n} columns=${b.value?.columns??[]}
        onFilters=${p=>$({...n,filters:p})} />`}
      <div><${Ie} query=${n} onQuery=${p=>$(p)} onRefine=${p=>$(p,!0)} onOpen=${D} /></div>
    </div>
    ${S>0&&t`<${R} of="Detail" id=${S} known=${a?.id===S?a:null} onClose=${W} onStep=${p=>D(p,!0)}
      onSearch=${p=>$({...I,text:"",entity:"",examples:[p]})} />`}`}var Me={entities:"Entities",entity:"Entity",review:"Review",map:"MapView",images:"Images"},He={search:"Search",entities:"Entities",entity:"Entity",review:"Review",map:"Map",images:"Images"},Je=[["search","Search"],["entities","Entities"],["review","Review"],["map","Map"]];function Ke(){let{view:e,rest:n,params:s}=T.value,r=E(null),u=E(!0),l=`${e}/${n.join("/")}`,o=s.get("entity")??{entity:n[0],review:n[1]}[e]??"",c=s.get("text")||j.value[o]||o;g(()=>{u.current||(r.current.focus({preventScroll:!0}),le.y||scrollTo(0,0)),u.current=!1},[l]),g(()=>{document.title=[...new Set([c,He[e]??"Not found","OpenMOFI"])].filter(Boolean).join(" \xB7 ")});let a=e==="entity"?"entities":e;return t`
    <a class="skip" href="#main" onClick=${m=>{m.preventDefault(),r.current.focus()}}>To the content</a>
    <header class="top"><div class="top-row">
      <a class="brand" href="#/search"><img src=${ye} alt="" width="26" height="26" /><span>OpenMOFI</span></a>
      <nav aria-label="Views">${Je.map(([m,i])=>t`<a key=${m} href=${`#/${m}`}
        aria-current=${m===a?"page":void 0}>${i}</a>`)}</nav>
      ${b.value&&t`<p class="index-size">${v(b.value.images,"image")}, ${v(b.value.entities,"entity","entities")}</p>`}
    </div></header>
    <main id="main" ref=${r} tabindex="-1">
      ${G.value&&!b.value?t`<h1 class="unseen">OpenMOFI</h1><${k} error=${G.value} retry=${ie} />`:t`<${Xe} key=${se.value} />`}
    </main>
    <${ue} />
    ${oe.value&&t`<${Ye} />`}`}function Xe(){let{view:e,rest:n}=T.value;return e==="search"?t`<${Ce} key=${n[0]} />`:Object.hasOwn(Me,e)?t`<${R} key=${`${e}/${e==="review"?"":n[0]}`} of=${Me[e]} />`:t`<h1 class="unseen">Not found</h1><${A} title="There is no such view"><p><a href="#/search">Go to the search</a></p><//>`}function Ye(){let[e,n]=h(null),s=E(null);return t`<${pe} title="This server asks for its token" closable=${!1} onClose=${()=>{}}>
    <form class="token" onSubmit=${async u=>{u.preventDefault();try{await C.signIn(s.current.value.trim())}catch(l){n(l)}}}>
      <p>It is in the address that openmofi serve printed; whoever started the server has it.</p>
      <label class="field"><span>Token</span><input ref=${s} type="password" autocomplete="current-password" required
        aria-describedby="token-error" /></label>
      <p id="token-error" class="error-text" role="alert">${e&&`${e.message} ${e.hint}`}</p>
      <button class="button main" type="submit">Continue</button>
    </form><//>`}ae();ee(t`<${Ke} />`,document.getElementById("app"));
