// Before anything is drawn: the theme this person chose, if any; otherwise the system decides.
const chosen = localStorage.getItem("theme");
if (chosen) document.documentElement.dataset.theme = chosen;
