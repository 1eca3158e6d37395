// The answer to a form is a page like any other: whoever comes back to it sends nothing again.

history.replaceState(null, "", document.getElementById("live")?.dataset.page ?? location.href);
