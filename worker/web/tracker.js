// One tracker's page: where the generation is on its way, and all that happened to it.

import { call } from "./api.js"
import { api, asking, badge, button, clock, h, icon, link, many, moodOf, outcome, page, span, tick,
	triedMood } from "./dom.js"

export async function load({ account, id }) {
	const path = api("trackers", account, id)
	const [tracker, { items: entries }] = await Promise.all([call(path), call(`${path}/timeline`)])
	const ids = new Set([...entries, tracker.webhook].map((each) => each?.delivery_id))
	const found = await Promise.all([...ids].map((each) => each && call(api("deliveries", each)).catch(() => null)))
	return { tracker, entries, deliveries: found.filter(Boolean) }
}

export function draw({ tracker, entries, deliveries }, { shown, stats }) {
	const path = api("trackers", tracker.account, tracker.generation_id)
	const { state, webhook } = tracker, isOver = state !== "tracking"
	return [
		h("h1", { tabindex: -1 }, icon(moodOf(state)), h("b", state)),
		h("p", h("code.id", tracker.generation_id), " in ", link("#/accounts", tracker.account)),
		h("p.why", stats.workers || isOver ? why(tracker) : "No worker is running"),
		h("p.acts",
			!isOver && [button("Look now", "post", { path: `${path}/poll` }, "go"), button("Cancel tracking", "cancel", { path })],
			state === "completed" && button("Get fresh URLs", "fresh", { path }),
			webhook && replay({ ...webhook, id: webhook.delivery_id })),
		journey(tracker, isOver),
		h("div.columns",
			h("section", h("h2", "What happened"), timeline(tracker, entries, deliveries)),
			h("aside", result(tracker, shown), facts(tracker),
				tracker.generation && h("details.card", h("summary", `As ${tracker.provider} shows it`),
					h("pre", json(tracker.generation))))),
	]
}

const webUrl = (text) => /^https?:/i.test(text) && URL.canParse(text) && new URL(text)
const json = (value) => JSON.stringify(value, null, 1)
const why = ({ held, failure_reason: failure, reason, current_error: error }) => held ? ["account ", pause(held), held.detail] : failure ?? {
	deadline: "Its deadline came before its end.",
	not_found: "The provider knows no such generation.",
}[reason] ?? error

// How a webhook stands, why it has not arrived, and when it is tried again.
export const plight = ({ state, attempts, held }) => (state === "pending" && (attempts || held) ? "warn" : moodOf(state))
export const pause = (held) => held && ["held, probe ", tick("in", held.until) ?? "under way", "; "]
export const late = ({ state, attempts, reason, next_attempt_at: next, held, ...last }) => state !== "delivered" && [
	pause(held) ?? (next && attempts > 0 && ["next ", tick("in", next), "; "]),
	attempts ? outcome(last) : held?.detail,
	reason === "endpoint_disabled" && [attempts > 0 && "; ", "its endpoint was off"]]

function journey(it, isOver) {
	const { state, tracked_at: began, finished_at: ended, webhook } = it
	return h("ol.journey",
		stop("Tracked", "good", clock(began)),
		isOver ? stop(many(it.polls, "look"), "good", `at ${it.provider}`)
			: stop(it.provider_state ?? "waiting", "busy", "next look ", tick("in", it.next_poll_at)),
		isOver ? stop(state, moodOf(state), `after ${span(new Date(ended) - new Date(began))}`)
			: stop("the end", "", "expires ", tick("in", it.deadline_at)),
		webhook ? stop(`webhook ${webhook.state}`, plight(webhook), late(webhook) || many(webhook.attempts, "attempt"))
			: stop("webhook", "", it.endpoint ?? it.callback_url ? "once it is over" : "nobody to tell"))
}

const stop = (title, mood, ...text) =>
	h(mood ? `li.${mood}` : "li.ahead", mood ? icon(mood) : h("i"), h("b", title), h("span.more", text))

function timeline(tracker, entries, deliveries) {
	const steps = grouped(entries).map((each) =>
		step(each, deliveries.find(({ id }) => id === each.entry.delivery_id)))
	const next = (text, time) => time && h("li.ahead", h("time"), h("i"), h("div", text, tick("in", time)))
	return h("ol.timeline", steps, next("Next look ", tracker.next_poll_at),
		deliveries.map((each) => next("Next attempt ", each.next_attempt_at)))
}

// Looks in a row that saw the same are one step; a change says no more than its look.
function grouped(entries) {
	const steps = []
	for (const entry of entries) {
		const last = steps.at(-1), { looks = 1, until = entry.at } = entry
		const same = last?.entry.kind === "look" && last.entry.provider_state === entry.provider_state
		if (same && entry.kind === "look" && last.entry.error === entry.error) Object.assign(last, { until, looks: last.looks + looks })
		else if (!same || entry.kind !== "change") steps.push({ entry, looks, until })
	}
	return steps
}

function step({ entry, looks, until }, delivery) {
	const { kind, error, type = "" } = entry
	const item = (mood, title, more, below) =>
		h(`li.${mood}`, { "data-key": [kind, entry.at, entry.delivery_id] }, h("time.more", clock(entry.at)), icon(mood),
			h("div", h("b", title), h("div.more", more), below && h("div", below)))
	const took = entry.duration_ms == null ? "" : ` in ${span(entry.duration_ms)}`
	switch (kind) {
		case "look":
			return item(error ? "warn" : "busy", error ?? entry.provider_state, looks > 1
				? `${looks} looks over ${span(new Date(until) - new Date(entry.at))}` : `seen${took}`)
		case "event":
			return item(moodOf(type.split(".")[1]), `Event ${type}`, entry.event_id)
		case "attempt":
			return item(triedMood(entry), `Attempt ${entry.attempt}: ${outcome(entry)}`, [delivery?.url, took, entry.held_ms && `, held for ${span(entry.held_ms)}`],
				answer(delivery?.attempts.find((each) => each.at === entry.at)))
		default:
			return item({ canceled: "off", hold: "warn" }[kind] ?? "fact", kind, entry.in_words ?? entry.provider_state ?? error)
	}
}

export const answer = (attempt) =>
	attempt?.response && h("details", h("summary", "Its answer"), h("pre", attempt.response))

export const replay = ({ id, state }) => state !== "discarded" && button(
	state === "pending" ? "Send the webhook now" : "Replay the webhook", "post", { path: `${api("deliveries", id)}/replay` })

function result(tracker, shown) {
	const assets = Object.entries(tracker.assets)
	return assets.length > 0 && h("section.card", h("h2", "Result"), assets.map(([name, src]) => {
		const url = webUrl(src), tag = { video: "video", image: "img" }[name]
		// What the page's policy lets load: https, and what this machine itself serves.
		const mayShow = tag && (url.protocol === "https:" || url.hostname === "127.0.0.1")
		return h("div.asset", { "data-key": src },
			mayShow && (shown.has(src) ? h(tag, { src, alt: name, controls: tag === "video" })
				: button(`Show the ${name}`, "show", { src })),
			url ? h("a", { href: src, target: "_blank" }, `Open the ${name}`) : src)
	}))
}

function facts(it) {
	const rows = Object.entries({
		Model: [it.model, it.type].filter(Boolean).join(", "),
		Looks: `${it.polls}, ${it.poll_errors} failed`,
		"Last error": it.last_error,
		"Last seen": tick("ago", it.seen_at),
		"Webhooks to": it.endpoint ?? it.callback_url,
		Metadata: h("code", json(it.metadata)),
	})
	return h("section.card", h("h2", "Details"),
		h("dl", rows.map(([name, value]) => value && [h("dt", name), h("dd", value)])))
}

export const row = (each) => h("li", { "data-key": `${each.account}:${each.generation_id}` },
	h("a.row", { href: page("trackers", each.account, each.generation_id) },
		badge(each.state), h("code", each.generation_id),
		h("span.more", why(each) ? h("span.why", why(each)) : each.next_poll_at
			? [each.provider_state ?? "not seen yet", ", next look ", tick("in", each.next_poll_at)] : each.model),
		h("span.more", each.webhook && [badge(each.webhook.state, plight(each.webhook)), " ", late(each.webhook)]),
		h("span.when", tick("ago", each.finished_at ?? each.tracked_at))))
