"use strict";
// Comfort only: everything is there without it.
const details = [...document.querySelectorAll("details")];
const notRun = document.querySelector("details.not-run");

// Whoever asks for the claims that were not run wants to see them.
for (const input of document.querySelectorAll(".filter input")) {
  input.addEventListener("change", () => {
    if (notRun) notRun.open = input.id === "show-not-run";
  });
}

// Paper has nothing to click on: browsers that cannot show closed details by style get them opened.
let closed = [];
addEventListener("beforeprint", () => {
  closed = details.filter((element) => !element.open);
  for (const element of closed) element.open = true;
});
addEventListener("afterprint", () => {
  for (const element of closed) element.open = false;
});
