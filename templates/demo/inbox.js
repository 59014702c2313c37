// Looks every two seconds whether a mail came, and shows the list anew; the open mail stays open.
"use strict";
let newest = document.body.dataset.newest;
setInterval(async () => {
  try {
    const answer = await fetch("/count", { cache: "no-store" });
    const key = await answer.text();
    if (!answer.ok || key === newest) return;
    newest = key;
    const page = new DOMParser().parseFromString(await (await fetch(location.pathname)).text(), "text/html");
    if (!document.querySelector(".reading h2")) return location.reload();
    document.querySelector(".list").replaceWith(page.querySelector(".list"));
  } catch {
    document.querySelector(".live").textContent = "the demo has ended";
  }
}, 2000);
