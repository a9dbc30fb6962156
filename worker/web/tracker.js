// One tracker's page: where the generation is on its way, and all that happened to it.

import { call } from "./api.js"
import { looks } from "./charts.js"
import { api, asking, badge, button, clock, h, icon, link, many, moodOf, outward, page, span, tick,
	triedMood, webUrl } from "./dom.js"

export async function load({ account, id }) {
	const path = api("trackers", account, id)
	const [tracker, timeline, listed] = await Promise.all([call(path), call(`${path}/timeline`),
		call(asking("/v1/deliveries", { account, generation_id: id }))])
	// That list goes through recent deliveries only; the timeline knows the older ones.
	const ids = [...timeline.items.map((each) => each.delivery_id), ...listed.items.map((each) => each.id)]
	const found = await Promise.all([...new Set(ids)].map((each) =>
		each && call(api("deliveries", each)).catch(() => null)))
	return { tracker, entries: timeline.items, deliveries: found.filter(Boolean) }
}

export function draw({ tracker, entries, deliveries }, { shown }) {
	const path = api("trackers", tracker.account, tracker.generation_id)
	const isOver = tracker.state !== "tracking"
	return [
		h("h1", { tabindex: -1 }, icon(moodOf(tracker.state)), h("b", tracker.state)),
		h("p", h("code.id", tracker.generation_id), " in ", link("#/accounts", tracker.account)),
		why(tracker) && h("p.why", why(tracker)),
		h("p.acts",
			!isOver && [button("Look now", "post", { path: `${path}/poll` }, "go"), button("Cancel tracking", "cancel", { path })],
			tracker.state === "completed" && button("Get fresh URLs", "fresh", { path })),
		journey(tracker, isOver, deliveries.at(-1)),
		h("div.columns",
			h("section", h("h2", "What happened"), timeline(tracker, entries, deliveries)),
			h("aside", result(tracker, shown), facts(tracker),
				tracker.generation && h("details.card", h("summary", `As ${tracker.provider} shows it`),
					h("pre", json(tracker.generation))))),
	]
}

const json = (value) => JSON.stringify(value, null, 1)
const why = (tracker) => tracker.failure_reason ?? {
	deadline: "Its deadline came before its end.",
	not_found: "The provider says that there is no such generation.",
}[tracker.reason]

function journey(tracker, isOver, delivery) {
	const { state, tracked_at: began, finished_at: ended } = tracker
	const isTold = tracker.endpoint || tracker.callback_url
	return h("ol.journey",
		stop("Tracked", "good", clock(began)),
		isOver ? stop(many(tracker.polls, "look"), "good", `at ${tracker.provider}`)
			: stop(tracker.provider_state ?? "waiting", "busy", "next look ", tick("in", tracker.next_poll_at)),
		isOver ? stop(state, moodOf(state), `after ${span(Date.parse(ended) - Date.parse(began))}`)
			: stop("the end", "", "expires ", tick("in", tracker.deadline_at)),
		delivery ? stop(delivery.state, moodOf(delivery.state), many(delivery.attempts.length, "attempt"),
			delivery.next_attempt_at && [", next ", tick("in", delivery.next_attempt_at)])
			: stop("webhook", "", isTold ? "once it is over" : "nobody to tell"))
}

const stop = (title, mood, ...text) =>
	h(mood ? `li.${mood}` : "li.ahead", mood ? icon(mood) : h("i"), h("b", title), h("span.more", text))

function timeline(tracker, entries, deliveries) {
	const steps = grouped(entries).map(({ entry, times }) => {
		const delivery = deliveries.find((each) => each.id === entry.delivery_id)
		const isLatest = entry === entries.findLast((each) => each.delivery_id === entry.delivery_id)
		return step(entry, times, delivery, isLatest)
	})
	const next = (text, time) => time && h("li.ahead", h("time"), h("i"), h("div", text, tick("in", time)))
	return h("ol.timeline", steps, next("Next look ", tracker.next_poll_at),
		deliveries.map((each) => next("Next attempt ", each.next_attempt_at)))
}

// Looks in a row that saw the same are one step; a change says no more than its look.
function grouped(entries) {
	const steps = []
	for (const entry of entries) {
		const last = steps.at(-1), time = Date.parse(entry.at)
		const same = last?.entry.kind === "look" && last.entry.provider_state === entry.provider_state
		if (same && entry.kind === "look" && last.entry.error === entry.error) last.times.push(time)
		else if (!same || entry.kind !== "change") steps.push({ entry, times: [time] })
	}
	return steps
}

function step(entry, times, delivery, isLatest) {
	const { kind, error, type = "" } = entry
	const item = (mood, title, more, ...rest) =>
		h(`li.${mood}`, { "data-key": [kind, entry.at, entry.delivery_id] }, h("time.more", clock(entry.at)), icon(mood),
			h("div", h("b", title), h("div.more", more), rest.map((each) => each && h("div", each))))
	const took = entry.duration_ms == null ? "" : ` in ${span(entry.duration_ms)}`
	switch (kind) {
		case "look":
			return item(error ? "warn" : "busy", error ?? entry.provider_state, times.length > 1
				? `${times.length} looks over ${span(times.at(-1) - times[0])}` : `seen${took}`,
			times.length > 1 && looks(times))
		case "event":
			return item(moodOf(type.split(".")[1]), `Event ${type}`, entry.event_id)
		case "attempt":
			return item(triedMood(entry), `Attempt ${entry.attempt}: ${entry.status ?? error}`,
				[delivery && outward(delivery.url), took],
				answer(delivery?.attempts.find((each) => each.at === entry.at)), isLatest && delivery && replay(delivery))
		default:
			return item(kind === "canceled" ? "off" : "fact", kind, entry.provider_state ?? error)
	}
}

export const answer = (attempt) =>
	attempt?.response && h("details", h("summary", "Its answer"), h("pre", attempt.response))

export const replay = ({ id, state }) => state !== "discarded"
	&& button(state === "pending" ? "Send now" : "Replay", "post", { path: `${api("deliveries", id)}/replay` })

function result(tracker, shown) {
	const assets = Object.entries(tracker.assets)
	return assets.length > 0 && h("section.card", h("h2", "Result"), assets.map(([name, src]) => {
		const url = webUrl(src), tag = { video: "video", image: "img" }[name]
		// What the page's policy lets load: https, and what this machine itself serves.
		const mayShow = tag && (url.protocol === "https:" || url.hostname === "127.0.0.1")
		return h("div.asset", { "data-key": src },
			mayShow && (shown.has(src) ? h(tag, { src, alt: name, controls: tag === "video" })
				: button(`Show the ${name}`, "show", { src })),
			outward(src, `Open the ${name}`))
	}))
}

function facts(tracker) {
	const rows = Object.entries({
		"Model": [tracker.model, tracker.type].filter(Boolean).join(", "),
		"Looks": `${tracker.polls}, ${tracker.poll_errors} failed`,
		"Last error": tracker.last_error,
		"Last seen": tick("ago", tracker.seen_at),
		"Webhooks to": tracker.endpoint ?? tracker.callback_url,
		"Metadata": h("code", json(tracker.metadata)),
	})
	return h("section.card", h("h2", "Details"),
		h("dl", rows.map(([name, value]) => value && [h("dt", name), h("dd", value)])))
}

export const row = (each) => h("li", { "data-key": `${each.account}:${each.generation_id}` },
	h("a.row", { href: page("trackers", each.account, each.generation_id) },
		badge(each.state), h("code", each.generation_id),
		h("span.more", each.next_poll_at
			? [each.provider_state ?? "not seen yet", ", next look ", tick("in", each.next_poll_at)]
			: why(each) ?? each.model),
		h("span.when", tick("ago", each.finished_at ?? each.tracked_at))))
