import{A as O,B as fe,C as M,D as Q,E as de,F as A,G as Z,I as ge,K as v,L as C,M as he,N as y,O as _,P as N,Q as U,R as q,T as ee,a as ie,b as h,c as w,ca as be,d as ae,e as E,f as le,g as W,h as s,ha as ve,i as j,ia as we,j as G,ka as ye,l as t,m as I,ma as te,n as ce,na as z,o as ue,oa as ke,p as L,pa as xe,q as $e,qa as Se,ra as Ee,s as b,sa as x,t as X,ta as Oe,u as B,w as pe,x as me,y as P,z as Y}from"./chunk-K5NDZIFT.js";var Ce='data:image/svg+xml,<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="%230b6e72"/><rect x="7" y="7" width="8" height="8" rx="2" fill="%23fff"/><rect x="17" y="7" width="8" height="8" rx="2" fill="%23fff" opacity=".55"/><rect x="7" y="17" width="8" height="8" rx="2" fill="%23fff" opacity=".55"/><circle cx="21" cy="21" r="4" fill="none" stroke="%23ffd166" stroke-width="2.6"/><path d="M24 24l3 3" stroke="%23ffd166" stroke-width="2.6" stroke-linecap="round"/></svg>%0A';var V=W(null),H=W(null);function se(){V.value||(H.value=null,import("./later-ZDOTRCJY.js").then(e=>{V.value=e},()=>{H.value=new I(0,t("later.failed"),t("later.hint"))}))}for(let e of["pointermove","pointerdown","keydown"])addEventListener(e,se,{once:!0,passive:!0});function R({of:e,...n}){return w(se,[]),V.value?s`<${V.value[e]} ...${n} />`:H.value?s`<${y} error=${H.value} retry=${se} />`:s`<${N} />`}function Re({onClose:e}){let[n,o]=h(null),i=async(a,r)=>{try{if(a==="language"&&!await j(r))return;ge(a,r),o(null),C(t(Z.value?"settings.kept":"settings.session"))}catch{o(new I(0,t("later.failed"),t("later.hint")))}},u=(a,r,$)=>s`<${Oe} legend=${r} name=${a} options=${$} shown
    value=${A.value[a]} onChange=${l=>i(a,l)} />`;return s`<${U} title=${t("settings.title")} onClose=${e}><div class="settings">
    ${n&&s`<${y} error=${n} />`}
    ${u("theme",t("settings.theme"),[["",t("settings.system")],["light",t("settings.light")],["dark",t("settings.dark")]])}
    ${u("tiles",t("settings.tiles"),[["small",t("settings.small")],["",t("settings.medium")],["large",t("settings.large")]])}
    ${u("language",t("settings.language"),[["",t("settings.browser")],["en","English"],["de","Deutsch"]])}
    <p class="faint">${t(Z.value?"settings.kept":"settings.session")}</p>
  </div><//>`}var Te=new Map,ze=20<<20,Ie=e=>Te.get(e);async function Le(e,n){let o=new I(413,t("upload.tooLarge",{name:e.name||t("upload.image"),megabytes:e.size/1e6}),`${n?`${t("upload.most",{megabytes:Math.floor(n/1e6)})} `:""}${t("error.smaller")}`);if(n&&e.size>n)throw o;try{let{upload:i}=await L.upload(e);return Te.set(i,URL.createObjectURL(e)),i}catch(i){throw i.status===0&&e.size>ze?o:i}}var ne=e=>[...e?.files??[]];function Me({onFiles:e}){let[n,o]=h(!1),i=E(e);return i.current=e,w(()=>{let u=c=>c.dataTransfer?.types.includes("Files"),d={dragover:c=>{u(c)&&(c.preventDefault(),o(!0))},dragleave:c=>{c.relatedTarget||o(!1)},drop:c=>{u(c)&&(c.preventDefault(),o(!1),i.current(ne(c.dataTransfer)))},paste:c=>{let m=ne(c.clipboardData);m.length&&(c.preventDefault(),i.current(m))}};return Object.entries(d).forEach(([c,m])=>addEventListener(c,m)),()=>Object.entries(d).forEach(([c,m])=>removeEventListener(c,m))},[]),n&&s`<div class="drop" aria-hidden="true"><p>${t("intake.drop")}</p></div>`}function De({onFiles:e}){let n=E(null);return s`<button type="button" class="button pick" onClick=${()=>n.current.click()}>
      <${v} name="image" />${t("intake.image")}
    </button>
    <input ref=${n} type="file" accept="image/*" hidden tabindex="-1" aria-label=${t("intake.pick")} onChange=${o=>{let i=[...o.currentTarget.files];o.currentTarget.value="",i.length&&e(i)}} />`}function Fe({query:e,names:n,onQuery:o}){let i=l=>o({...e,examples:e.examples.filter((d,c)=>c!==l)}),u=(l,d)=>o({...e,examples:e.examples.map((c,m)=>m===l?{...c,...d}:c)}),a=e.filters.entity,r=l=>o({...e,filters:{...e.filters,[l]:""}});return e.entity||e.examples.length||e.more.length||e.less.length||a?s`<ul class="chips query-chips" aria-label=${t("query.title")}>
    ${e.entity&&s`<li><${x} kind="entity" name=${n[e.entity]??e.entity}
      onRemove=${()=>o({...e,entity:""})}>${n[e.entity]??e.entity}<//></li>`}
    ${e.examples.map((l,d)=>s`<li key=${`${l.upload??l.image}-${d}`}>
      <${Ve} example=${l} onRemove=${()=>i(d)} onChange=${c=>u(d,c)} /></li>`)}
    ${e.more.length>0&&s`<li><${x} name=${t("query.right")} kind="right"
      onRemove=${()=>o({...e,more:[]})}>${t("query.more",{count:e.more.length})}<//></li>`}
    ${e.less.length>0&&s`<li><${x} name=${t("query.wrong")} kind="wrong"
      onRemove=${()=>o({...e,less:[]})}>${t("query.less",{count:e.less.length})}<//></li>`}
    ${a&&s`<li><${x} name=${t("query.filter")} onRemove=${()=>r("entity")}>${t("query.only",{name:n[a]??a})}<//></li>`}
  </ul>`:null}function Ve({example:e,onRemove:n,onChange:o}){let[i,u]=h(!1),a=e.upload?Ie(e.upload):$e({id:e.image}),r=e.upload?t("example.own"):t("example.image",{id:String(e.image)}),$=e.weight<0;return s`<span class=${`chip example ${$?"wrong":""}`}>
    <button type="button" class="example-image" aria-label=${t("example.open",{name:r})} onClick=${()=>u(!0)}>
      ${a?s`<img src=${a} alt="" />`:s`<${v} name="image" />`}
      ${e.region&&s`<span class="region-mark" style=${{left:`${e.region[0]*100}%`,top:`${e.region[1]*100}%`,width:`${(e.region[2]-e.region[0])*100}%`,height:`${(e.region[3]-e.region[1])*100}%`}} />`}
    </button>
    <button type="button" class="sign" aria-pressed=${$} aria-label=${t("example.lessLike",{name:r})}
      title=${t($?"example.less":"example.more")} onClick=${()=>o({weight:-e.weight})}>${$?"−":"+"}</button>
    <button type="button" class="chip-remove" aria-label=${t("remove",{name:r})} onClick=${n}><${v} name="close" /></button>
    ${i&&s`<${R} of="ExampleDialog" example=${e} src=${a} name=${r} onClose=${()=>u(!1)}
      onRegion=${l=>{u(!1),o({region:l})}} />`}
  </span>`}var He={"":"order.none",newest:"order.newest",oldest:"order.oldest"},Je=10,Ke=5,je=100;function Be({query:e,onQuery:n,onRefine:o,onOpen:i}){let u=ke(e),a=JSON.stringify(u),r=Ee(async(f,g,S)=>{let{hits:F,total:J,...T}=await L.search({...u,limit:g,offset:f},S);return{items:F,total:J,about:T}},a),$=xe(e),l=$&&r.about?.end!=null?Math.min(r.about.end,r.total):null,d=l===null?t("images",{count:r.total}):t("results.likely",{shown:l||t("results.none")});if(w(()=>{r.total!==null&&!r.replaced&&C(`${r.total?d:t("results.nothing")}.`)},[r.total,r.replaced,a]),r.error&&r.total===null)return s`<${y} error=${r.error} retry=${()=>r.retry()} />`;if(r.total===null)return s`<${N} what=${t("wait.searching")} />`;if(r.total===0){let f=Object.values(e.filters).some(Boolean);return s`<${_} title=${t($||f?"results.nothing":"results.emptyIndex")}>
      <p>${t(f?"results.filtered":$?"results.reword":"results.add")}</p>
      ${f&&s`<button class="button" onClick=${()=>n({...e,filters:{}})}>${t("results.unfilter")}</button>`}<//>`}let c=(f,g)=>{C(`${t(g==="more"?"results.more":"results.less")}.`),o(Se(e,f.id,g))},m=e.entity||r.about?.entity||e.filters.entity;return s`
    <section aria-label=${t("results.title")} class=${r.replaced?"replaced":""}>
      <${We} query=${e} about=${r.about} onQuery=${n} />
      <${Ge} list=${r} query=${e} end=${l} ranked=${$} onQuery=${n} />
      ${r.about?.note&&s`<p class="note" role="note">${r.about.note}</p>`}
      ${r.error&&s`<${y} error=${r.error} retry=${()=>r.retry()} />`}
      <${Qe} searched=${m} hits=${r.seen().filter(({rank:f})=>f<=Math.min(l??je,je))} query=${e} onQuery=${n} />
      <${ve} label=${t("view.images")} list=${r} entity=${m} end=${l} bar=${s`<${Xe} about=${r.about} end=${l} total=${r.total} />`}
        onKey=${(f,g)=>{(g==="+"||g==="-")&&c(f.image,g==="+"?"more":"less")}}
        tile=${(f,g,S)=>s`<${Ye} hit=${f} active=${S} query=${e} ranked=${$}
          beyond=${l>0&&g>=l} onOpen=${()=>i(f.image)} onJudge=${c} />`} />
    </section>`}function We({query:e,about:n,onQuery:o}){if(e.words&&e.text)return s`<ul class="chips senses" aria-label=${t("senses.title")}><li><${x} name=${t("senses.words")}
      onRemove=${()=>o({...e,words:!1})}>${t("senses.words")}<//></li></ul>`;if(!e.text||e.entity||!n?.entity)return null;let[i,...u]=n.meant,a=r=>s`<strong>${r.name}</strong> <span class="faint">${ee(r)}</span>`;return s`<ul class="chips senses" aria-label=${t("senses.title")}>
    <li aria-current="true"><${x} kind="entity">${a(i)}<//></li>
    ${u.slice(0,Ke).map(r=>s`<li key=${r.id}><span class="chip"><button type="button" class="chip-text"
      title=${ee(r)} onClick=${()=>{P([r]),o({...e,text:"",entity:r.id})}}>${a(r)}</button></span></li>`)}
    <li><span class="chip"><button type="button" class="chip-text" onClick=${()=>o({...e,words:!0})}>${t("senses.words")}</button></span></li>
  </ul>`}function Ge({list:e,query:n,end:o,ranked:i,onQuery:u}){let{about:a,total:r}=e,$=i?t("results.closest"):r<b.value?.images&&!Object.values(n.filters).some(Boolean)?t("results.folded"):"";return s`<div class="results-head">
    <p class="count">${o===null?s`${t("results.images",{count:r,shown:s`<strong>${G(r)}</strong>`})}${$&&s`<span class="faint"> · ${$}</span>`}`:s`${t("results.likely",{shown:s`<strong>${o?G(o):t("results.none")}</strong>`})}${o<r&&s`<span class="faint"> · ${t(o?"results.moreBelow":"results.below",{count:r-o})}</span>`}`}</p>
    ${i&&b.value?.map&&s`<a href=${M(["map"],z(n))}>${t("results.onMap")}</a>`}
    ${!i&&b.value?.columns.includes("date")&&s`<label class="field inline"><span>${t("order")}</span>
      <select value=${n.order} onChange=${l=>u({...n,order:l.currentTarget.value})}>
        ${Object.entries(He).map(([l,d])=>s`<option value=${l} selected=${l===n.order}>${t(d)}</option>`)}
      </select></label>`}
    ${a?.uncalibrated&&s`<details class="faint why"><summary>${t(o===null?"results.whyNone":"results.whySome")}</summary>
      ${a.uncalibrated}</details>`}
  </div>`}function Xe({about:e,end:n,total:o}){let i=n?n>=o?t("bar.all",{count:o}):t("bar.end"):t("bar.none",{share:q(e.until)}),u=n?`${t("bar.right",{right:e.expected_right,count:n})}${n<o?` ${t(e.uncalibrated?"bar.belowOr":"bar.below")}`:""}`:t("bar.first");return s`<div class="bar-line" role="note"><div><strong>${i}</strong> <span>${u}</span></div></div>`}function Ye({hit:e,active:n,query:o,ranked:i,beyond:u,onOpen:a,onJudge:r}){let{image:$}=e,l=$.labels.find(m=>m.accepted),d=[i&&e.probability!==null&&t("tile.probability",{share:q(e.probability)}),e.duplicates.length>0&&t("tile.duplicates",{count:e.duplicates.length})].filter(Boolean).join(", "),c=(m,f,g)=>s`<button class=${`thumb ${m}`} tabindex=${n?0:-1} aria-label=${g} title=${g}
    aria-pressed=${o[m].includes($.id)} onClick=${()=>r($,m)}><${v} name=${f} /></button>`;return s`<${ye} image=${$} active=${n} kind=${u?"beyond":""} about=${d} onOpen=${a}>
    <div class="tile-row">
      ${i?s`<${we} value=${e.probability} />`:s`<span class="faint tile-label">${l?l.name:""}</span>`}
      ${e.duplicates.length>0&&s`<span class="badge" title=${t("tile.folded",{count:e.duplicates.length})}>
        +${e.duplicates.length}</span>`}
      <span class="thumbs">${c("more","up",t("results.more"))}${c("less","down",t("results.less"))}</span>
    </div>
  <//>`}function Qe({hits:e,searched:n,query:o,onQuery:i}){let u=le(()=>{let a=new Map;for(let{image:r}of e)for(let{entity:$,name:l,accepted:d}of r.labels)d&&$!==n&&a.set($,{entity:$,name:l,count:(a.get($)?.count??0)+1});return[...a.values()].sort((r,$)=>$.count-r.count||r.name.localeCompare($.name)).slice(0,Je)},[e.length,e[0],n]);return!u.length||o.filters.entity?null:s`<ul class="chips facets" aria-label=${t("facets.title")}>
    ${u.map(({entity:a,name:r})=>s`<li key=${a}><span class="chip">
      <button type="button" class="chip-text" title=${t("facets.only",{name:r})}
        onClick=${()=>i({...o,filters:{...o.filters,entity:a}})}>${r}</button>
    </span></li>`)}
  </ul>`}var Ze=16;function Pe(){let{params:e}=O.value,n=te(e),[o,i]=h(n.text),[u,a]=h(null),[r,$]=h(!1),[l,d]=h(null),[c,m]=h(!1);ae(()=>{i(n.text)},[n.text]),w(()=>{Y(n.entity),Y(n.filters.entity??"")},[n.entity,n.filters.entity]);let f=(p,k=!1)=>{a(null),k||scrollTo(0,0),Q(M(["search"],z(p)),k)},g=async p=>{a(null),$(!0),C(`${t("search.sending")}.`);try{let k=[];for(let K of p.slice(0,Ze-n.examples.length))k.push(await Le(K,b.value?.max_upload_bytes));let D=te(O.value.params),Ne=k.map(K=>({upload:K,weight:1,region:null}));f({...D,examples:[...D.examples,...Ne],more:[],less:[]})}catch(k){a(k)}finally{$(!1)}},S=Number(e.get("show"))||0,F=(p,k=!1)=>{d(p);let D=new URLSearchParams(e);D.set("show",String(p.id)),Q(M(["search"],D),k)},J=()=>{let p=new URLSearchParams(O.value.params);p.delete("show"),de(M(["search"],p))},T={...n,more:[],less:[],words:!1},oe=Object.values(n.filters).filter(Boolean).length,_e=!e.toString();return s`
    <h1 class="unseen">${t("view.search")}</h1>
    <${Me} onFiles=${g} />
    <form class="search-box" role="search" onSubmit=${p=>{p.preventDefault(),f({...T,text:o.trim()})}}>
      <span class="search-field"><${v} name="search" />
        <${be} label=${t("search.label")} placeholder=${t("search.placeholder")} value=${n.text}
          onInput=${i} onText=${p=>f({...T,text:p})}
          onEntity=${p=>{P([p]),f({...T,text:"",entity:p.id})}} /></span>
      <${De} onFiles=${g} />
      <button class="button main" type="submit">${t("search.go")}</button>
      <button type="button" class="button" aria-expanded=${c} aria-controls="filters" onClick=${()=>m(!c)}>
        <${v} name="filter" />${t("filters")}${oe>0&&s`<span class="badge">${oe}</span>`}</button>
    </form>
    <${Fe} query=${n} names=${B.value} onQuery=${p=>f(p,!0)} />
    ${r&&s`<p class="waiting" role="status">${t("search.sending")} …</p>`}
    ${u&&s`<${y} error=${u} />`}
    ${_e&&!u&&s`<p class="hint">${t("search.hint")}</p>`}
    <div class=${c?"railed":""}>
      ${c&&s`<${R} of="Rail" query=${n} columns=${b.value?.columns??[]}
        onFilters=${p=>f({...n,filters:p})} />`}
      <div><${Be} query=${n} onQuery=${p=>f(p)} onRefine=${p=>f(p,!0)} onOpen=${F} /></div>
    </div>
    ${S>0&&s`<${R} of="Detail" id=${S} known=${l?.id===S?l:null} onClose=${J} onStep=${p=>F(p,!0)}
      onSearch=${p=>f({...T,text:"",entity:"",examples:[p]})} />`}`}var Ae={entities:"Entities",entity:"Entity",review:"Review",map:"MapView",images:"Images"},re={search:"view.search",entities:"view.entities",entity:"view.entity",review:"view.review",map:"view.map",images:"view.images"},qe=1e3,et=["search","entities","review","map"];function tt(){let{view:e,rest:n,params:o}=O.value,i=E(null),u=E(!0),[a,r]=h(!1),$=`${e}/${n.join("/")}`,l=o.get("entity")??(e==="entity"?n[0]:e==="review"?n[1]:"")??"",d=o.get("text")||B.value[l]||l;w(()=>{u.current||(i.current.focus({preventScroll:!0}),fe.y||scrollTo(0,0)),u.current=!1},[$]),w(()=>{document.title=[...new Set([d,t(Object.hasOwn(re,e)?re[e]:"view.missing"),"OpenMOFI"])].filter(Boolean).join(" · ")});let c=e==="entity"?"entities":e;return s`
    <a class="skip" href="#main" onClick=${m=>{m.preventDefault(),i.current.focus()}}>${t("app.skip")}</a>
    <header class="top"><div class="top-row">
      <a class="brand" href="#/search"><img src=${Ce} alt="" width="26" height="26" /><span>OpenMOFI</span></a>
      <nav aria-label=${t("app.views")}>${et.map(m=>s`<a key=${m} href=${`#/${m}`}
        aria-current=${m===c?"page":void 0}>${t(re[m])}</a>`)}</nav>
      ${b.value&&s`<p class="index-size">${t("images",{count:b.value.images})}, ${t("entities",{count:b.value.entities})}</p>`}
      <button type="button" class="round" aria-label=${t("settings.title")} title=${t("settings.title")} aria-haspopup="dialog"
        onClick=${()=>r(!0)}><${v} name="settings" /></button>
    </div></header>
    <main id="main" ref=${i} tabindex="-1">
      ${X.value&&!b.value?s`<h1 class="unseen">OpenMOFI</h1><${y} error=${X.value} retry=${me} />`:s`<${st} key=${ue.value} />`}
    </main>
    <${he} />
    ${a&&s`<${Re} onClose=${()=>r(!1)} />`}
    ${ce.value&&s`<${nt} />`}`}function st(){let{view:e,rest:n}=O.value;return e==="search"?s`<${Pe} key=${n[0]} />`:Object.hasOwn(Ae,e)?s`<${R} key=${`${e}/${e==="review"?"":n[0]}`} of=${Ae[e]} />`:s`<h1 class="unseen">${t("view.missing")}</h1><${_} title=${t("app.noView")}><p><a href="#/search">${t("app.toSearch")}</a></p><//>`}function nt(){let[e,n]=h(null),o=E(null),i=async u=>{u.preventDefault();try{await L.signIn(o.current.value.trim())}catch(a){n(a)}};return s`<${U} title=${t("token.title")} closable=${!1} onClose=${()=>{}}>
    <form class="token" onSubmit=${i}>
      <p>${t("token.where")}</p>
      <label class="field"><span>${t("token.name")}</span><input ref=${o} type="password" autocomplete="current-password" required
        aria-describedby="token-error" /></label>
      <p id="token-error" class="error-text" role="alert">${e&&`${e.message} ${e.hint}`}</p>
      <button class="button main" type="submit">${t("token.continue")}</button>
    </form><//>`}pe();await Promise.race([j(A.value.language).catch(()=>{}),new Promise(e=>{setTimeout(e,qe)})]);ie(s`<${tt} />`,document.getElementById("app"));
