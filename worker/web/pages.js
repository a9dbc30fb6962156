// The other pages: each loads, then draws.

import { call } from "./api.js"
import { curve, ends, latency } from "./charts.js"
import { api, asking, badge, button, h, icon, link, many, moodOf, outcome, page, span, tick, triedMood }
	from "./dom.js"
import * as tracker from "./tracker.js"

const title = (...text) => h("h1", { tabindex: -1 }, text)
const rows = (items, row, none = "None here.") =>
	(items.length ? h("ul.rows", items.map(row)) : h("div.card.empty", none))
const listed = (what) => (query) => call(asking(`/v1/${what}`, { limit: 25, ...query }))

const LATE_S = 5

export const overview = {
	load: () => call("/v1/trackers?limit=8"),
	draw: ({ items }, { stats, accounts: [account] }) => [
		status(stats),
		figures(stats),
		troubles(stats.accounts_in_trouble, stats.endpoints_in_trouble),
		h("div.charts", ends(stats.last_hour), latency(stats.last_hour)),
		h("h2", "Latest trackers"),
		rows(items, tracker.row, account ? ["Nothing is tracked yet: ",
			h("code", `curl -X PUT ${location.origin}${api("trackers", account.name, "GENERATION_ID")}`)]
			: "Set LUMAAI_API_KEY and start again."),
	],
}

function status(stats) {
	const inTrouble = stats.accounts_in_trouble.length + stats.endpoints_in_trouble.total
	const [mood, text] = !stats.workers ? ["bad", "No worker is running"]
		: inTrouble ? ["warn", "Something needs attention"]
			: stats.lag_s > LATE_S ? ["warn", "Work is late"] : ["good", "All is well"]
	return title(icon(mood), text)
}

function figures({ trackers, deliveries, due, lag_s: lag, workers }) {
	const tile = (label, value, mood, href) => h("a.tile", { href }, label, h("b", mood && [icon(mood), " "], value.toLocaleString()))
	return h("div.tiles",
		tile("Tracking", trackers.tracking, "", "#/trackers?state=tracking"),
		tile("Due now", due.looks + due.receivers),
		tile("Lag", span(lag * 1000), lag > LATE_S && "warn"),
		tile("Webhooks owed", deliveries.pending, "", "#/deliveries?state=pending"),
		tile("Exhausted", deliveries.exhausted, deliveries.exhausted > 0 && "bad", "#/deliveries?state=exhausted"),
		tile("Workers", workers, !workers && "bad"))
}

function troubles(accounts, endpoints) {
	const row = (mood, href, name, why, more, act) => h("li", { "data-key": href + name }, icon(mood),
		h("div", link(href, name), `: ${why}`, h("div.more", more)), act)
	const found = [
		...accounts.map(({ name, reason, detail, held }) => row("warn", "#/accounts", `account ${name}`,
			reason, [tracker.pause(held), detail])),
		...endpoints.items.map(({ name, url, enabled, reason, failed_with: failed, since, held }) =>
			row(enabled ? "warn" : "bad", asking("#/deliveries", { endpoint: name }), url, enabled && failed || reason,
				[tracker.pause(held), enabled ? "failing for " : "off for ", tick("for", since), `, ${name}`],
				!enabled && button("Enable", "enable", { name }))),
	]
	return found.length > 0 && h("section.card.troubles", h("ul", found),
		endpoints.total > endpoints.items.length && "… and others")
}

const list = (what, name, states, row) => ({
	load: listed(what),
	draw({ items, next_cursor: next }, { stats, query: { cursor, ...filter } }) {
		const chip = (query, isOn, ...text) =>
			h("a.chip", { href: asking(`#/${what}`, query), "aria-current": isOn && "true" }, text)
		return [
			title(name, h("span.more", filter.account ?? filter.endpoint)),
			h("p.acts", chip({}, filter.state == null, "all"), states.map((state) => chip({ ...filter, state },
				filter.state === state, icon(moodOf(state)), state, h("b", stats[what][state].toLocaleString())))),
			rows(items, row),
			h("p.acts", cursor && chip(filter, false, "← Newest"), next && chip({ ...filter, cursor: next }, false, "Older →")),
		]
	},
})

export const trackers =
	list("trackers", "Trackers", ["tracking", "completed", "failed", "expired", "canceled"], tracker.row)

function delivered(each) {
	const { id, attempts, generation_id: generation } = each
	const last = { ...each, ...attempts.at(-1), attempts: attempts.length }
	return h("li", { "data-key": id }, h("details",
		h("summary.row", badge(each.state, tracker.plight(last)), h("code", generation || each.type),
			h("span.more", each.url), h("span.more", tracker.late(last)),
			h("span.when", tick("ago", each.created_at))),
		h("div.inside",
			h("p.more", `${each.type} to ${each.url}, ${id} `,
				generation && link(page("trackers", each.account, generation), "Its generation")),
			h("ol", attempts.map((made) =>
				h("li", badge(outcome(made), triedMood(made)), ` in ${span(made.duration_ms)}, `, tick("ago", made.at), tracker.answer(made)))),
			tracker.replay(each))))
}

export const deliveries =
	list("deliveries", "Deliveries", ["pending", "delivered", "exhausted", "discarded"], delivered)

export const find = {
	async load({ id }, { accounts }) {
		const found = await Promise.all(accounts.map(({ name }) => call(api("trackers", name, id)).catch((error) => {
			if (error.status !== 404) throw error
		})))
		const items = found.filter(Boolean)
		return { items, go: items.length === 1 && page("trackers", items[0].account, id) }
	},
	draw: ({ items }, { query: { id } }) => [title("Search"),
		rows(items, tracker.row, [h("code", id), " is not tracked in any account, or no longer kept."])],
}

const SINCE = [["hour", 3600], ["day", 86400], ["week", 604800]]

export const endpoints = {
	load: listed("endpoints"),
	draw: ({ items, next_cursor: cursor }) => [title("Endpoints"), items.length ? items.map(endpoint) : rows(items),
		cursor && h("a.chip", { href: asking("#/endpoints", { cursor }) }, "Older →")],
}

function endpoint({ name, url, enabled, failing_since: failing, failed_with: why, disabled_reason: off, held, secrets, events }) {
	const isBare = name.startsWith("url_")
	const recover = button("Replay all that failed in the last", "recover", { name })
	return h("section.card", { "data-key": name },
		h("h2", isBare ? url : name, badge(...(!enabled ? ["off", "bad"] : failing ? ["failing", "warn"] : ["on", "good"]))),
		h("p.more", isBare ? name : url),
		h("p.why", enabled ? failing && [tracker.pause(held), `${why ?? "No success"}, for `, tick("for", failing)] : off),
		h("p.more", events.join(", "), secrets > 0 && ` ${many(secrets, "secret")} `,
			link(asking("#/deliveries", { endpoint: name }), "Its deliveries")),
		h("p.acts",
			enabled ? button("Send a test", "test", { name }) : button("Enable", "enable", { name }, "go"),
			secrets > 0 && button("Rotate secret", "rotate", { name }),
			enabled && recover && h("span", recover, " ",
				h("select", { "aria-label": "Since when" }, SINCE.map(([label, value]) => h("option", { value }, label))))))
}

export const accounts = {
	load: () => call("/v1/accounts"),
	draw: ({ items }) => [title("Accounts"), items.length ? items.map(account) : rows(items)],
}

function account({ name, configured, provider, base_url: url, polls_per_second: rate, polls_per_second_used: used,
	deadline_s: deadline, health, held, kinds }) {
	const head = (word, mood) => h("h2", name, badge(word, mood))
	if (!configured) return h("section.card", head("not configured", "warn"), "Its trackers wait for their deadlines.")
	return h("section.card", { "data-key": name },
		head(health.reason ?? "healthy", health.ok ? "good" : "warn"),
		!health.ok && h("p.why", tracker.pause(held), health.detail, `, ${health.errors_in_a_row} in a row`),
		h("p.more", `${provider} at ${url}. ${used.toFixed(1)} of ${rate} looks a second. Given up after `,
			`${span(deadline * 1000)}. `, link(asking("#/trackers", { account: name }), "Its trackers")),
		h("div.charts", kinds.filter(({ kind }) => kind.length === 1).map(curve)))
}
