import{A as O,B as fe,C,D as Q,E as de,F as A,G as Z,I as ge,K as v,L as R,M as he,N as y,O as _,P as N,Q as U,R as q,T as ee,a as ie,b as h,c as w,ca as be,d as ae,e as E,f as le,g as W,h as s,ha as ve,i as F,ia as we,j as G,ka as ye,l as t,m as L,ma as te,n as ce,na as z,o as ue,oa as ke,p as M,pa as xe,q as $e,qa as Se,ra as Ee,s as b,sa as x,t as X,ta as Oe,u as B,w as pe,x as me,y as P,z as Y}from"./chunk-Q2Q2DC7Y.js";var Ce='data:image/svg+xml,<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="%230b6e72"/><rect x="7" y="7" width="8" height="8" rx="2" fill="%23fff"/><rect x="17" y="7" width="8" height="8" rx="2" fill="%23fff" opacity=".55"/><rect x="7" y="17" width="8" height="8" rx="2" fill="%23fff" opacity=".55"/><circle cx="21" cy="21" r="4" fill="none" stroke="%23ffd166" stroke-width="2.6"/><path d="M24 24l3 3" stroke="%23ffd166" stroke-width="2.6" stroke-linecap="round"/></svg>%0A';var V=W(null),H=W(null);function se(){V.value||(H.value=null,import("./later-MWKN3KKN.js").then(e=>{V.value=e},()=>{H.value=new L(0,t("later.failed"),t("later.hint"))}))}for(let e of["pointermove","pointerdown","keydown"])addEventListener(e,se,{once:!0,passive:!0});function T({of:e,...n}){return w(se,[]),V.value?s`<${V.value[e]} ...${n} />`:H.value?s`<${y} error=${H.value} retry=${se} />`:s`<${N} />`}function Re({onClose:e}){let[n,o]=h(null),i=async(a,r)=>{try{if(a==="language"&&!await F(r))return;ge(a,r),o(null),R(t(Z.value?"settings.kept":"settings.session"))}catch{o(new L(0,t("later.failed"),t("later.hint")))}},$=(a,r,u)=>s`<${Oe} legend=${r} name=${a} options=${u} shown
    value=${A.value[a]} onChange=${l=>i(a,l)} />`;return s`<${U} title=${t("settings.title")} onClose=${e}><div class="settings">
    ${n&&s`<${y} error=${n} />`}
    ${$("theme",t("settings.theme"),[["",t("settings.system")],["light",t("settings.light")],["dark",t("settings.dark")]])}
    ${$("tiles",t("settings.tiles"),[["small",t("settings.small")],["",t("settings.medium")],["large",t("settings.large")]])}
    ${$("language",t("settings.language"),[["",t("settings.browser")],["en","English"],["de","Deutsch"]])}
    <p class="faint">${t(Z.value?"settings.kept":"settings.session")}</p>
  </div><//>`}var Te=new Map,ze=20<<20,Ie=e=>Te.get(e);async function Le(e,n){let o=new L(413,t("upload.tooLarge",{name:e.name||t("upload.image"),megabytes:e.size/1e6}),`${n?`${t("upload.most",{megabytes:Math.floor(n/1e6)})} `:""}${t("error.smaller")}`);if(n&&e.size>n)throw o;try{let{upload:i}=await M.upload(e);return Te.set(i,URL.createObjectURL(e)),i}catch(i){throw i.status===0&&e.size>ze?o:i}}var ne=e=>[...e?.files??[]];function Me({onFiles:e}){let[n,o]=h(!1),i=E(e);return i.current=e,w(()=>{let $=c=>c.dataTransfer?.types.includes("Files"),d={dragover:c=>{$(c)&&(c.preventDefault(),o(!0))},dragleave:c=>{c.relatedTarget||o(!1)},drop:c=>{$(c)&&(c.preventDefault(),o(!1),i.current(ne(c.dataTransfer)))},paste:c=>{let m=ne(c.clipboardData);m.length&&(c.preventDefault(),i.current(m))}};return Object.entries(d).forEach(([c,m])=>addEventListener(c,m)),()=>Object.entries(d).forEach(([c,m])=>removeEventListener(c,m))},[]),n&&s`<div class="drop" aria-hidden="true"><p>${t("intake.drop")}</p></div>`}function De({onFiles:e}){let n=E(null);return s`<button type="button" class="button pick" onClick=${()=>n.current.click()}>
      <${v} name="image" />${t("intake.image")}
    </button>
    <input ref=${n} type="file" accept="image/*" hidden tabindex="-1" aria-label=${t("intake.pick")} onChange=${o=>{let i=[...o.currentTarget.files];o.currentTarget.value="",i.length&&e(i)}} />`}function je({query:e,names:n,onQuery:o}){let i=l=>o({...e,examples:e.examples.filter((d,c)=>c!==l)}),$=(l,d)=>o({...e,examples:e.examples.map((c,m)=>m===l?{...c,...d}:c)}),a=e.filters.entity,r=l=>o({...e,filters:{...e.filters,[l]:""}});return e.entity||e.examples.length||e.more.length||e.less.length||a?s`<ul class="chips query-chips" aria-label=${t("query.title")}>
    ${e.entity&&s`<li><${x} kind="entity" name=${n[e.entity]??e.entity}
      onRemove=${()=>o({...e,entity:""})}>${n[e.entity]??e.entity}<//></li>`}
    ${e.examples.map((l,d)=>s`<li key=${`${l.upload??l.image}-${d}`}>
      <${Ve} example=${l} onRemove=${()=>i(d)} onChange=${c=>$(d,c)} /></li>`)}
    ${e.more.length>0&&s`<li><${x} name=${t("query.right")} kind="right"
      onRemove=${()=>o({...e,more:[]})}>${t("query.more",{count:e.more.length})}<//></li>`}
    ${e.less.length>0&&s`<li><${x} name=${t("query.wrong")} kind="wrong"
      onRemove=${()=>o({...e,less:[]})}>${t("query.less",{count:e.less.length})}<//></li>`}
    ${a&&s`<li><${x} name=${t("query.filter")} onRemove=${()=>r("entity")}>${t("query.only",{name:n[a]??a})}<//></li>`}
  </ul>`:null}function Ve({example:e,onRemove:n,onChange:o}){let[i,$]=h(!1),a=e.upload?Ie(e.upload):$e({id:e.image}),r=e.upload?t("example.own"):t("example.image",{id:String(e.image)}),u=e.weight<0;return s`<span class=${`chip example ${u?"wrong":""}`}>
    <button type="button" class="example-image" aria-label=${t("example.open",{name:r})} onClick=${()=>$(!0)}>
      ${a?s`<img src=${a} alt="" />`:s`<${v} name="image" />`}
      ${e.region&&s`<span class="region-mark" style=${{left:`${e.region[0]*100}%`,top:`${e.region[1]*100}%`,width:`${(e.region[2]-e.region[0])*100}%`,height:`${(e.region[3]-e.region[1])*100}%`}} />`}
    </button>
    <button type="button" class="sign" aria-pressed=${u} aria-label=${t("example.lessLike",{name:r})}
      title=${t(u?"example.less":"example.more")} onClick=${()=>o({weight:-e.weight})}>${u?"−":"+"}</button>
    <button type="button" class="chip-remove" aria-label=${t("remove",{name:r})} onClick=${n}><${v} name="close" /></button>
    ${i&&s`<${T} of="ExampleDialog" example=${e} src=${a} name=${r} onClose=${()=>$(!1)}
      onRegion=${l=>{$(!1),o({region:l})}} />`}
  </span>`}var He={"":"order.none",newest:"order.newest",oldest:"order.oldest"},Je=10,Ke=5,Fe=100;function Be({query:e,onQuery:n,onRefine:o,onOpen:i}){let $=ke(e),a=JSON.stringify($),r=Ee(async(f,g,S)=>{let{hits:j,total:J,...I}=await M.search({...$,limit:g,offset:f},S);return{items:j,total:J,about:I}},a),u=xe(e),l=u&&r.about?.end!=null?Math.min(r.about.end,r.total):null,d=l===null?t("images",{count:r.total}):t("results.likely",{shown:l||t("results.none")});if(w(()=>{r.total!==null&&!r.replaced&&R(`${r.total?d:t("results.nothing")}.`)},[r.total,r.replaced,a]),r.error&&r.total===null)return s`<${y} error=${r.error} retry=${()=>r.retry()} />`;if(r.total===null)return s`<${N} what=${t("wait.searching")} />`;if(r.total===0){let f=Object.values(e.filters).some(Boolean);return s`<${_} title=${t(u||f?"results.nothing":"results.emptyIndex")}>
      <p>${t(f?"results.filtered":u?"results.reword":"results.add")}</p>
      ${f&&s`<button class="button" onClick=${()=>n({...e,filters:{}})}>${t("results.unfilter")}</button>`}<//>`}let c=(f,g)=>{R(`${t(g==="more"?"results.more":"results.less")}.`),o(Se(e,f.id,g))},m=e.entity||r.about?.entity||e.filters.entity;return s`
    <section aria-label=${t("results.title")} class=${r.replaced?"replaced":""}>
      <${We} query=${e} about=${r.about} onQuery=${n} />
      <${Ge} list=${r} query=${e} end=${l} ranked=${u} onQuery=${n} />
      ${r.about?.note&&s`<p class="note" role="note">${r.about.note}</p>`}
      ${r.error&&s`<${y} error=${r.error} retry=${()=>r.retry()} />`}
      <${Qe} searched=${m} hits=${r.seen().filter(({rank:f})=>f<=Math.min(l??Fe,Fe))} query=${e} onQuery=${n} />
      <${ve} label=${t("view.images")} list=${r} entity=${m} end=${l} bar=${s`<${Xe} about=${r.about} end=${l} total=${r.total} />`}
        onKey=${(f,g)=>{(g==="+"||g==="-")&&c(f.image,g==="+"?"more":"less")}}
        tile=${(f,g,S)=>s`<${Ye} hit=${f} active=${S} query=${e} ranked=${u}
          beyond=${l>0&&g>=l} onOpen=${()=>i(f.image)} onJudge=${c} />`} />
    </section>`}function We({query:e,about:n,onQuery:o}){if(e.words&&e.text)return s`<ul class="chips senses" aria-label=${t("senses.title")}><li><${x} name=${t("senses.words")}
      onRemove=${()=>o({...e,words:!1})}>${t("senses.words")}<//></li></ul>`;if(!e.text||e.entity||!n?.entity)return null;let[i,...$]=n.meant,a=r=>s`<strong>${r.name}</strong> <span class="faint">${ee(r)}</span>`;return s`<ul class="chips senses" aria-label=${t("senses.title")}>
    <li aria-current="true"><${x} kind="entity">${a(i)}<//></li>
    ${$.slice(0,Ke).map(r=>s`<li key=${r.id}><span class="chip"><button type="button" class="chip-text"
      title=${ee(r)} onClick=${()=>{P([r]),o({...e,text:"",entity:r.id})}}>${a(r)}</button></span></li>`)}
    <li><span class="chip"><button type="button" class="chip-text" onClick=${()=>o({...e,words:!0})}>${t("senses.words")}</button></span></li>
  </ul>`}function Ge({list:e,query:n,end:o,ranked:i,onQuery:$}){let{about:a,total:r}=e,u=i?t("results.closest"):r<b.value?.images&&!Object.values(n.filters).some(Boolean)?t("results.folded"):"";return s`<div class="results-head">
    <p class="count">${o===null?s`${t("results.images",{count:r,shown:s`<strong>${G(r)}</strong>`})}${u&&s`<span class="faint"> · ${u}</span>`}`:s`${t("results.likely",{shown:s`<strong>${o?G(o):t("results.none")}</strong>`})}${o<r&&s`<span class="faint"> · ${t(o?"results.moreBelow":"results.below",{count:r-o})}</span>`}`}</p>
    ${i&&b.value?.map&&s`<a href=${C(["map"],z(n))}>${t("results.onMap")}</a>`}
    ${!i&&b.value?.columns.includes("date")&&s`<label class="field inline"><span>${t("order")}</span>
      <select value=${n.order} onChange=${l=>$({...n,order:l.currentTarget.value})}>
        ${Object.entries(He).map(([l,d])=>s`<option value=${l} selected=${l===n.order}>${t(d)}</option>`)}
      </select></label>`}
    ${a?.uncalibrated&&s`<details class="faint why"><summary>${t(o===null?"results.whyNone":"results.whySome")}</summary>
      ${a.uncalibrated}</details>`}
  </div>`}function Xe({about:e,end:n,total:o}){let i=n?n>=o?t("bar.all",{count:o}):t("bar.end"):t("bar.none",{share:q(e.until)}),$=n?`${t("bar.right",{right:e.expected_right,count:n})}${n<o?` ${t(e.uncalibrated?"bar.belowOr":"bar.below")}`:""}`:t("bar.first");return s`<div class="bar-line" role="note"><div><strong>${i}</strong> <span>${$}</span></div></div>`}function Ye({hit:e,active:n,query:o,ranked:i,beyond:$,onOpen:a,onJudge:r}){let{image:u}=e,l=u.labels.find(m=>m.accepted),d=[i&&e.probability!==null&&t("tile.probability",{share:q(e.probability)}),e.duplicates.length>0&&t("tile.duplicates",{count:e.duplicates.length})].filter(Boolean).join(", "),c=(m,f,g)=>s`<button class=${`thumb ${m}`} tabindex=${n?0:-1} aria-label=${g} title=${g}
    aria-pressed=${o[m].includes(u.id)} onClick=${()=>r(u,m)}><${v} name=${f} /></button>`;return s`<${ye} image=${u} active=${n} kind=${$?"beyond":""} about=${d} onOpen=${a}>
    <div class="tile-row">
      ${i?s`<${we} value=${e.probability} />`:s`<span class="faint tile-label">${l?l.name:""}</span>`}
      ${e.duplicates.length>0&&s`<a class="badge" tabindex=${n?0:-1} title=${t("tile.folded",{count:e.duplicates.length})}
        aria-label=${t("tile.folded",{count:e.duplicates.length})} href=${C(["images"],{ids:[u.id,...e.duplicates].join(",")})}>
        +${e.duplicates.length}</a>`}
      <span class="thumbs">${c("more","up",t("results.more"))}${c("less","down",t("results.less"))}</span>
    </div>
  <//>`}function Qe({hits:e,searched:n,query:o,onQuery:i}){let $=le(()=>{let a=new Map;for(let{image:r}of e)for(let{entity:u,name:l,accepted:d}of r.labels)d&&u!==n&&a.set(u,{entity:u,name:l,count:(a.get(u)?.count??0)+1});return[...a.values()].sort((r,u)=>u.count-r.count||r.name.localeCompare(u.name)).slice(0,Je)},[e.length,e[0],n]);return!$.length||o.filters.entity?null:s`<ul class="chips facets" aria-label=${t("facets.title")}>
    ${$.map(({entity:a,name:r})=>s`<li key=${a}><span class="chip">
      <button type="button" class="chip-text" title=${t("facets.only",{name:r})}
        onClick=${()=>i({...o,filters:{...o.filters,entity:a}})}>${r}</button>
    </span></li>`)}
  </ul>`}var Ze=16;function Pe(){let{params:e}=O.value,n=te(e),[o,i]=h(n.text),[$,a]=h(null),[r,u]=h(!1),[l,d]=h(null),[c,m]=h(!1);ae(()=>{i(n.text)},[n.text]),w(()=>{Y(n.entity),Y(n.filters.entity??"")},[n.entity,n.filters.entity]);let f=(p,k=!1)=>{a(null),k||scrollTo(0,0),Q(C(["search"],z(p)),k)},g=async p=>{a(null),u(!0),R(`${t("search.sending")}.`);try{let k=[];for(let K of p.slice(0,Ze-n.examples.length))k.push(await Le(K,b.value?.max_upload_bytes));let D=te(O.value.params),Ne=k.map(K=>({upload:K,weight:1,region:null}));f({...D,examples:[...D.examples,...Ne],more:[],less:[]})}catch(k){a(k)}finally{u(!1)}},S=Number(e.get("show"))||0,j=(p,k=!1)=>{d(p);let D=new URLSearchParams(e);D.set("show",String(p.id)),Q(C(["search"],D),k)},J=()=>{let p=new URLSearchParams(O.value.params);p.delete("show"),de(C(["search"],p))},I={...n,more:[],less:[],words:!1},oe=Object.values(n.filters).filter(Boolean).length,_e=!e.toString();return s`
    <h1 class="unseen">${t("view.search")}</h1>
    <${Me} onFiles=${g} />
    <form class="search-box" role="search" onSubmit=${p=>{p.preventDefault(),f({...I,text:o.trim()})}}>
      <span class="search-field"><${v} name="search" />
        <${be} label=${t("search.label")} placeholder=${t("search.placeholder")} value=${n.text}
          onInput=${i} onText=${p=>f({...I,text:p})}
          onEntity=${p=>{P([p]),f({...I,text:"",entity:p.id})}} /></span>
      <${De} onFiles=${g} />
      <button class="button main" type="submit">${t("search.go")}</button>
      <button type="button" class="button" aria-expanded=${c} aria-controls="filters" onClick=${()=>m(!c)}>
        <${v} name="filter" />${t("filters")}${oe>0&&s`<span class="badge">${oe}</span>`}</button>
    </form>
    <${je} query=${n} names=${B.value} onQuery=${p=>f(p,!0)} />
    ${r&&s`<p class="waiting" role="status">${t("search.sending")} …</p>`}
    ${$&&s`<${y} error=${$} />`}
    ${_e&&!$&&s`<p class="hint">${t("search.hint")}</p>`}
    <div class=${c?"railed":""}>
      ${c&&s`<${T} of="Rail" query=${n} columns=${b.value?.columns??[]}
        onFilters=${p=>f({...n,filters:p})} />`}
      <div><${Be} query=${n} onQuery=${p=>f(p)} onRefine=${p=>f(p,!0)} onOpen=${j} /></div>
    </div>
    ${S>0&&s`<${T} of="Detail" id=${S} known=${l?.id===S?l:null} onClose=${J} onStep=${p=>j(p,!0)}
      onSearch=${p=>f({...I,text:"",entity:"",examples:[p]})} />`}`}var Ae={entities:"Entities",entity:"Entity",review:"Review",map:"MapView",images:"Images"},re={search:"view.search",entities:"view.entities",entity:"view.entity",review:"view.review",map:"view.map",images:"view.images"},qe=1e3,et=["search","entities","review","map"];function tt(){let{view:e,rest:n,params:o}=O.value,i=E(null),$=E(!0),[a,r]=h(!1),u=`${e}/${n.join("/")}`,l=o.get("entity")??(e==="entity"?n[0]:e==="review"?n[1]:"")??"",d=o.get("text")||B.value[l]||l;w(()=>{$.current||(i.current.focus({preventScroll:!0}),fe.y||scrollTo(0,0)),$.current=!1},[u]),w(()=>{document.title=[...new Set([d,t(Object.hasOwn(re,e)?re[e]:"view.missing"),"OpenMOFI"])].filter(Boolean).join(" · ")});let c=e==="entity"?"entities":e;return s`
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
    ${ce.value&&s`<${nt} />`}`}function st(){let{view:e,rest:n}=O.value;return e==="search"?s`<${Pe} key=${n[0]} />`:Object.hasOwn(Ae,e)?s`<${T} key=${`${e}/${e==="review"?"":n[0]}`} of=${Ae[e]} />`:s`<h1 class="unseen">${t("view.missing")}</h1><${_} title=${t("app.noView")}><p><a href="#/search">${t("app.toSearch")}</a></p><//>`}function nt(){let[e,n]=h(null),o=E(null),i=async $=>{$.preventDefault();try{await M.signIn(o.current.value.trim())}catch(a){n(a)}};return s`<${U} title=${t("token.title")} closable=${!1} onClose=${()=>{}}>
    <form class="token" onSubmit=${i}>
      <p>${t("token.where")}</p>
      <label class="field"><span>${t("token.name")}</span><input ref=${o} type="password" autocomplete="current-password" required
        aria-describedby="token-error" /></label>
      <p id="token-error" class="error-text" role="alert">${e&&`${e.message} ${e.hint}`}</p>
      <button class="button main" type="submit">${t("token.continue")}</button>
    </form><//>`}pe();await Promise.race([F(A.value.language).catch(()=>{}),new Promise(e=>{setTimeout(e,qe)})]);ie(s`<${tt} />`,document.getElementById("app"));
