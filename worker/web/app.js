// Routes, what is shown and when, what buttons do, the key.

import { call, follow } from "./api.js"
import { api, asking, h, may, morph, page, tickAll } from "./dom.js"
import * as pages from "./pages.js"
import * as tracker from "./tracker.js"

const AGAIN_MS = 3000
const SETTLE_MS = 300
const MOVING = /"state":"(tracking|pending)"|"ok":false|"held":{/

const [main, input, toast, live, dialog] =
	["main", "header input", "#toast", "#live", "dialog"].map((each) => document.querySelector(each))

const seen = { shown: new Set() }
let view // what is on show: {shown, query, data}

// Unlike decodeURIComponent, this takes a stray % as it is.
const decoded = (text) => new URLSearchParams(`=${text.replaceAll("+", "%2B")}`).get("")

function route() {
	const [path, search] = location.hash.split("?")
	const [, name, id, rest] = path.split("/").map(decoded)
	if (name === "trackers" && rest) return [tracker, { account: id, id: rest }]
	if (name === "find") return [pages.find, { id }]
	return [pages[name] ?? pages.overview, Object.fromEntries(new URLSearchParams(search))]
}

function open() {
	const [shown, query] = route()
	view = { shown, query }
	for (const each of document.querySelectorAll("nav a")) {
		each.ariaCurrent = each.hash === (location.hash.match(/^#\/\w*/)?.[0] ?? "#/") ? "page" : null
	}
	return refresh()
}

let turn = Promise.resolve()
// One at a time, so that an old answer never replaces a new one.
const refresh = (isStale = true) => (turn = turn.then(() => show(view, isStale)))

async function show(mine, isStale) {
	try {
		const stats = await call("/v1/stats")
		seen.accounts ??= (await call("/v1/accounts")).items
		const counts = JSON.stringify([stats.trackers, stats.deliveries]), before = mine.data
		if (isStale || counts !== seen.counts || MOVING.test(JSON.stringify(before))) {
			mine.data = await mine.shown.load(mine.query, seen)
		}
		if (mine !== view) return
		if (mine.data.go) return location.replace(mine.data.go)
		Object.assign(seen, { stats, counts })
		may.write = stats.may_write
		draw(mine, !before)
		const state = mine.data.tracker?.state
		if (before && state !== before.tracker?.state) say(`It is ${state}.`)
	} catch (error) {
		if (error.status === 401) askForKey() // not awaited: it shows the page anew
		else if (mine.data) say(error.message)
		else if (mine === view) main.replaceChildren(h("h1", "Not to be had"), h("p.card.empty", error.message))
	}
}

function draw({ shown, query, data }, isNew) {
	const wanted = h("main", shown.draw(data, { ...seen, query }))
	document.querySelector("#may").textContent = may.write ? "" : "This key may only look."
	if (!isNew) return morph(main, wanted)
	main.replaceChildren(...wanted.childNodes)
	const title = main.querySelector("h1")
	document.title = `${title.textContent} · Dreamhook`
	if (document.activeElement !== input && location.hash) title.focus()
}

let quiet
function say(text) {
	toast.textContent = text
	clearTimeout(quiet)
	quiet = setTimeout(say, 8000, "")
}

let soon, again
const tell = (state) => (live.textContent = live.className = state)
const listen = follow(() => {
	soon ??= setTimeout(() => {
		soon = null
		refresh()
	}, SETTLE_MS)
}, tell)

function awake() {
	const isAwake = !document.hidden && !dialog.open
	clearTimeout(again)
	listen(isAwake)
	if (!isAwake) return tell("Paused")
	again = setTimeout(() => refresh(false).then(awake), AGAIN_MS)
}

// Ask; what was typed, or true, if the answer is yes.
function ask(question, text, yes, more, no = "Back") {
	dialog.replaceChildren(h("form", { method: "dialog" }, h("h2", { id: "question" }, question), h("p", text), more,
		h("p.acts", h("button.go", { value: "yes" }, yes), no && h("button", { formnovalidate: true }, no))))
	dialog.returnValue = ""
	dialog.showModal()
	return new Promise((done) => (dialog.onclose = () => {
		const typed = dialog.querySelector("input")?.value ?? true
		dialog.replaceChildren()
		done(dialog.returnValue && typed)
	}))
}

async function askForKey() {
	if (dialog.open) return
	const typed = h("input", { type: "password", required: true, autocomplete: "off", "aria-label": "Key" })
	const text = [sessionStorage.pass && "That key is not known. ",
		"One of DREAMHOOK_API_KEYS, or DREAMHOOK_READ_KEYS to look only. Kept until this tab is closed."]
	sessionStorage.pass = await ask("Which key?", text, "Open", typed, "")
	await open()
	awake()
}

const ACTS = {
	async post({ path }) {
		const { held } = await call(path, "POST")
		say(held?.in_words ?? "It is due now.")
	},
	async cancel({ path }) {
		if (await ask("Cancel tracking?", "No webhook will come. The generation goes on.", "Cancel tracking"))
			await call(path, "DELETE")
	},
	fresh: ({ path }) => call(`${path}?fresh=true`),
	show: ({ src }) => seen.shown.add(src),
	async test({ name }) {
		await call(api("endpoints", name, "test"), "POST")
		location.hash = asking("#/deliveries", { endpoint: name })
	},
	async rotate({ name }) {
		if (!await ask(`Rotate the secret of ${name}?`, "For a day, the old one signs too.", "Rotate")) return
		const { secret } = await call(api("endpoints", name, "rotate"), "POST", {})
		await ask("The new secret", "Copy it now: it is shown this once.", "I have it", h("code.id", secret), "")
	},
	async enable({ name }) {
		await call(api("endpoints", name), "PUT", { enabled: true })
		say(`${name} is on.`)
	},
	async recover({ name }, { nextElementSibling: select }) {
		const since = new Date(Date.now() - 1000 * select.value)
		say(`${(await call(api("endpoints", name, "recover"), "POST", { since })).recovered} owed again.`)
	},
}

document.addEventListener("click", async ({ target }) => {
	const pressed = target.closest("[data-act]")
	if (!pressed || pressed.ariaBusy) return
	pressed.ariaBusy = "true"
	await ACTS[pressed.dataset.act](pressed.dataset, pressed).catch?.((error) => say(error.message))
	pressed.ariaBusy = null
	await refresh()
	awake()
})

input.form.onsubmit = (event) => {
	event.preventDefault()
	const wanted = input.value.trim()
	if (wanted) location.hash = page("find", wanted)
}

document.onkeydown = (event) => {
	if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.matches("input, select")) return
	event.preventDefault()
	input.select()
}

onhashchange = open
document.onvisibilitychange = () => {
	if (!document.hidden) refresh()
	awake()
}

setInterval(tickAll, 1000)
await open()
awake()
