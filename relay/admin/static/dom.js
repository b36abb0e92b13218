// Elements made and changed. What a call says of itself goes in as text, and in no other way.

/** Makes an element of a class, with children: strings become text. */
export function make(tag, className = "", ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Changes an element's text only where it is another: what does not change costs no layout. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Shows or hides an element. */
export function show(element, visible) {
  if (element.hidden === visible) element.hidden = !visible;
}

/**
 * Brings a parent's children in line with items: one element for each key, made once, changed
 * after that, in the items' order.
 */
export function arrange(parent, items, { key, create, update }) {
  const known = (parent.known ??= new Map());
  const wanted = new Set(items.map(key));
  for (const [name, row] of known) {
    if (wanted.has(name)) continue;
    row.remove();
    row.after_row?.remove();
    known.delete(name);
  }
  let place = parent.firstElementChild;
  for (const item of items) {
    let row = known.get(key(item));
    if (row === undefined) known.set(key(item), (row = create(item)));
    update(row, item);
    if (row === place) place = place.nextElementSibling;
    else parent.insertBefore(row, place);
    if (row.after_row !== undefined) {
      if (row.after_row === place) place = place.nextElementSibling;
      else parent.insertBefore(row.after_row, place);
    }
  }
}

/** An element for words that others chose: their direction ends where they do. */
export function foreign(text, className = "") {
  const element = make("bdi", className);
  element.textContent = text;
  return element;
}

/** A link to the docs; anything that is no https address is no link. */
export function link(address, text) {
  if (!/^https:\/\//.test(address ?? "")) return document.createTextNode(text);
  const element = make("a", "", text);
  element.href = address;
  element.rel = "noreferrer";
  return element;
}
