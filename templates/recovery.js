// Copying and printing recovery codes. The buttons are hidden where this does not run.
"use strict";

const codes = document.getElementById("codes");
const copy = document.getElementById("copy");
const print = document.getElementById("print");
const copied = document.getElementById("copied");

copy.hidden = false;
copy.addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(codes.value);
  } catch {
    // Without HTTPS, or where the browser was told not to: the selection can be copied by hand in any case.
    codes.focus();
    codes.select();
    if (!document.execCommand("copy")) {
      return;
    }
  }
  copied.textContent = copied.dataset.done;
});

print.hidden = false;
print.addEventListener("click", () => window.print());
