// Making, patching and wording the page. What is not ours enters it as text or not at all.

const fill = (node, parts) => {
	const attributes = parts[0]?.constructor === Object ? parts.shift() : {}
	for (const [name, value] of Object.entries(attributes)) {
		if (value != null && value !== false) node.setAttribute(name, value === true ? "" : value)
	}
	node.append(...parts.flat(9).filter((each) => each != null && each !== false))
	return node
}

// An element: h("p.more", {title: "…"}, "text", child); attributes may be left out.
export const h = (name, ...rest) => {
	const [tag, ...classes] = name.split(".")
	const node = fill(document.createElement(tag), rest)
	if (classes.length) node.className = classes.join(" ")
	return node
}

export const s = (tag, ...rest) =>
	fill(document.createElementNS("http://www.w3.org/2000/svg", tag), rest)

// Make one node's children those of another; what is the same stays, with its focus.
export function morph(from, to) {
	const keyed = new Map([...from.children].map((each) => [each.dataset.key, each]))
	let at = from.firstChild
	for (const wanted of [...to.childNodes]) {
		const key = wanted.dataset?.key
		const known = key ? keyed.get(key) : at?.dataset?.key ? null : at
		if (known?.nodeName !== wanted.nodeName) {
			from.insertBefore(wanted, at)
			continue
		}
		if (known === at) at = at.nextSibling
		else from.insertBefore(known, at)
		if (wanted.nodeValue !== known.nodeValue) known.nodeValue = wanted.nodeValue
		if (!wanted.attributes) continue
		for (const { name } of [...known.attributes]) {
			if (!wanted.hasAttribute(name) && name !== "open") known.removeAttribute(name)
		}
		for (const { name, value } of wanted.attributes) {
			if (known.getAttribute(name) !== value) known.setAttribute(name, value)
		}
		morph(known, wanted)
	}
	while (at) [at] = [at.nextSibling, at.remove()]
}

const SHAPES = {
	good: "M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1zm3.3 4.1L7 9.4 4.8 7.2 3.7 8.3 7 11.6l5.4-5.4z",
	bad: "M5 1h6l4 4v6l-4 4H5l-4-4V5zm1 4L5 6l2 2-2 2 1 1 2-2 2 2 1-1-2-2 2-2-1-1-2 2z",
	warn: "M8 1l7.5 13.5H.5zm-.8 5v4h1.6V6zm0 5.2v1.6h1.6v-1.6z",
	off: "M2 2h12v12H2zm3 5.2v1.6h6V7.2z",
	busy: "M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1zm0 2a5 5 0 1 0 0 10A5 5 0 0 0 8 3zm0 3a2 2 0 1 1 0 4 2 2 0 0 1 0-4z",
	fact: "M8 1l7 7-7 7-7-7z",
}
const MOODS = {
	tracking: "busy", completed: "good", failed: "bad", expired: "warn", canceled: "off",
	pending: "busy", delivered: "good", exhausted: "bad", discarded: "off",
}

export const moodOf = (state) => MOODS[state] ?? "fact"
export const triedMood = ({ status }) => (/^2/.test(status) ? "good" : "bad")
export const icon = (mood) =>
	s("svg", { class: `icon ${mood}`, viewBox: "0 0 16 16", "aria-hidden": "true" },
		s("path", { d: SHAPES[mood], "fill-rule": "evenodd" }))
export const badge = (word, mood = moodOf(word)) => h(`span.badge.${mood}`, icon(mood), " ", word)
export const outcome = ({ status, error }) => error ?? `HTTP ${status}`

const path = (parts) => parts.map(encodeURIComponent).join("/")
export const api = (...parts) => `/v1/${path(parts)}`
export const page = (...parts) => `#/${path(parts)}`
export const asking = (where, query) => `${where}?${new URLSearchParams(query)}`
export const link = (href, text) => h("a", { href }, text)

// A key that may only read sees no buttons that do more.
export const may = { write: false }
export const button = (label, act, data, kind) => {
	const node = h("button", { type: "button", class: kind }, label)
	Object.assign(node.dataset, { act, ...data })
	return (may.write || act === "show") && node
}

export const many = (number, word) => `${number.toLocaleString()} ${word}${number === 1 ? "" : "s"}`

const UNITS = [["min", 60, "s", 1], ["h", 3600, "min", 60], ["d", 86400, "h", 3600]]

// A length of time in at most two units: "12 ms", "4.2 s", "3 min 20 s".
export function span(ms) {
	const seconds = ms / 1000
	if (seconds < 1) return `${Math.round(ms)} ms`
	if (seconds < 60) return `${+seconds.toFixed(seconds < 10 ? 1 : 0)} s`
	const [unit, size, next, part] = UNITS.findLast((each) => seconds >= each[1])
	const rest = Math.floor((seconds % size) / part)
	return `${Math.floor(seconds / size)} ${unit}${rest ? ` ${rest} ${next}` : ""}`
}

const since = (time) => Date.now() - Date.parse(time)

export function clock(time) {
	const day = since(time) > 43200000 ? { day: "numeric", month: "short" } : { second: "2-digit" }
	return new Date(time).toLocaleString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23", ...day })
}

const whole = (ms) => (ms < 1000 ? "0 s" : span(Math.floor(ms / 1000) * 1000))
const TICKS = {
	ago: (ms) => `${whole(ms).match(/\d+ \w+/)} ago`,
	in: (ms) => (ms > -900 ? "now" : `in ${whole(999 - ms)}`),
	for: whole,
}

export const tick = (how, time) => time
	&& h("time", { datetime: time, "data-tick": how, title: clock(time) }, TICKS[how](since(time)))

export function tickAll() {
	for (const each of document.querySelectorAll("[data-tick]")) {
		each.textContent = TICKS[each.dataset.tick](since(each.dateTime))
	}
}
