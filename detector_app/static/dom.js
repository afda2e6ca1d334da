"use strict";

// Finding and making elements.

const $ = (id) => document.getElementById(id);
const node = (tag, text = "", className = "") => Object.assign(document.createElement(tag), { textContent: text, className });
