// The few things every part of the page does with the document.

/**
 * @param {string} id
 * @returns {any} the element; index.html has it (a Go test checks).
 */
export const byId = (id) => document.getElementById(id);

/**
 * Makes an element.
 * @param {string} tag
 * @param {Record<string, string>} [attributes]
 * @param {...(Node|string)} children
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/**
 * Sets text only when it differs, so that a live region speaks once and a
 * selection in unchanged text survives.
 * @param {Element} target
 * @param {string} text
 */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/**
 * Changes what is shown. Where that takes the focused control away, the focus goes to the first of others that can have it: left alone
 * it would go to the beginning of the page, and a person at the keyboard or a screen reader with it.
 * @param {() => void} change
 * @param {...HTMLElement} others
 */
export function keepFocus(change, ...others) {
  const focused = document.activeElement;
  change();
  if (focused !== document.body && !reachable(focused)) others.find(reachable)?.focus();
}

/**
 * @param {Element} start
 * @returns {HTMLElement[]} the controls that come after it, shown or not
 */
export const controlsAfter = (start) =>
  [...document.querySelectorAll("a[href], button, input, select, summary")].filter((control) => start.compareDocumentPosition(control) === Node.DOCUMENT_POSITION_FOLLOWING);

/** @param {Element} control that is shown and switched on */
const reachable = (control) => control.getClientRects().length > 0 && !control.matches(":disabled");
