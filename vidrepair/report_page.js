"use strict";

// Sliders: by keyboard as every range input, by pointer also on the picture itself.
for (const slider of document.querySelectorAll("input[type=range]")) {
  const pair = document.getElementById(slider.dataset.pair);
  const show = () => {
    pair.style.setProperty("--at", `${slider.value}%`);
    slider.setAttribute("aria-valuetext", `${slider.value} % before, the rest after`);
  };
  const drag = (event) => {
    if (event.type === "pointermove" && event.buttons === 0) return;
    const box = pair.getBoundingClientRect();
    slider.value = Math.round((100 * (event.clientX - box.left)) / box.width);
    show();
  };
  slider.addEventListener("input", show);
  pair.addEventListener("pointerdown", drag);
  pair.addEventListener("pointermove", drag);
  pair.addEventListener("dragstart", (event) => event.preventDefault());
  show();
}

// The overlay of what was repaired.
const touched = document.getElementById("show-touched");
const follow = () => document.body.classList.toggle("show-touched", touched.checked);
touched.addEventListener("change", follow);
follow(); // browsers keep a tick over a reload

// The timeline: one stop for Tab, arrows from mark to mark, Enter shows the picture.
const time = (mark) => Number(mark.dataset.frame);
const marks = [...document.querySelectorAll(".mark")].sort((a, b) => time(a) - time(b));
const reach = (mark) => {
  for (const other of marks) other.tabIndex = other === mark ? 0 : -1;
};
const step = (mark, key) => {
  const at = marks.indexOf(mark);
  if (key === "ArrowRight") return marks[Math.min(at + 1, marks.length - 1)];
  if (key === "ArrowLeft") return marks[Math.max(at - 1, 0)];
  if (key === "Home") return marks[0];
  if (key === "End") return marks[marks.length - 1];
  return null;
};
let came = null;
for (const mark of marks) {
  mark.addEventListener("keydown", (event) => {
    const next = step(mark, event.key);
    if (next === null) return;
    event.preventDefault();
    reach(next);
    next.focus();
  });
  mark.addEventListener("focus", () => reach(mark));
  mark.addEventListener("click", () => {
    came = mark;
    // After the jump that the link makes by itself.
    setTimeout(() => document.querySelector(mark.hash).focus(), 0);
  });
}
if (marks.length > 0) reach(marks[0]);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && came !== null) came.focus();
});

// Paper cannot be opened.
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details")) part.open = true;
});
