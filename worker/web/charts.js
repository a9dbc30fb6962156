// Drawings: the last hour, and how long generations take.

import { h, icon, many, s, span } from "./dom.js"

const WIDE = 600, HIGH = 120
const SLOT = WIDE / 60; // a minute
const HOUR = ["an hour ago", "now"]
const TICKS = [0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 36000, 86400]; // seconds, evenly apart
const ENDS = [["completed", "good"], ["failed", "bad"], ["expired", "warn"]]

const bar = (kind, place, y, height) => s("rect", { class: kind, x: place * SLOT, y, width: 0.7 * SLOT, height })
const level = (y) => s("line", { x2: WIDE, y1: y, y2: y })

const figure = (title, caption, labels, ends, ...drawing) =>
	h("figure.card", h("figcaption", h("h2", title), caption),
		h("div.plot", s("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: "none", role: "img",
			"aria-label": title }, drawing), h("div.scale", labels.map((each) => h("span", each)))),
		h("div.axis", ends.map((each) => h("span", each))))

const totals = (rows, name) => rows.reduce((total, each) => total + each[name], 0)

// Completed above the line, what went wrong below it.
export function ends(minutes) {
	const up = Math.max(1, ...minutes.map((each) => each.completed))
	const down = Math.max(0, ...minutes.map((each) => each.failed + each.expired))
	const unit = HIGH / (up + down)
	const bars = minutes.map((each, place) => {
		let y = (up - each.completed) * unit
		return ENDS.map(([name, mood]) => {
			const height = each[name] * unit
			y += height
			return height > 0 && bar(mood, place, y - height, height)
		})
	})
	const legend = ENDS.map(([name, mood]) => h("span", icon(mood), ` ${totals(minutes, name).toLocaleString()} ${name}`))
	return figure("Ends per minute", legend, [up, down || ""], HOUR, bars, level(up * unit))
}

// From an event's birth until its webhook was taken: the median, up to what 95 % took.
export function latency(minutes) {
	const told = minutes.filter((each) => each.delivered)
	const slowest = Math.max(...told.map((each) => each.latency_p95_s))
	const top = Math.max(2, TICKS.findIndex((tick) => tick >= slowest))
	const step = HIGH / top, scale = TICKS.slice(0, top + 1).reverse()
	const y = (seconds) => {
		const n = Math.max(0, TICKS.findLastIndex((tick) => tick < seconds))
		return HIGH - step * Math.max(0, n + Math.log(seconds / TICKS[n]) / Math.log(TICKS[n + 1] / TICKS[n]))
	}
	const bars = minutes.map((each, place) => {
		if (!each.delivered) return null
		const low = y(each.latency_p50_s), high = y(each.latency_p95_s)
		return [bar("soft", place, high, low - high), bar("busy", place, low - 3, 3)]
	})
	const last = told.at(-1)
	const text = last ? `${many(totals(told, "delivered"), "webhook")}; lately half within `
		+ `${span(last.latency_p50_s * 1000)}, 95 % within ${span(last.latency_p95_s * 1000)}` : "Nothing was delivered."
	return figure("Webhook latency", text, scale.map((tick, n) => (top > 5 && (top - n) % 2 ? "\xa0" : span(tick * 1000))), HOUR,
		scale.map((_, n) => level(n * step)), bars)
}

// The share still running at each age.
export function curve({ kind, sample, median_s: half, p90_s: most, looks_per_generation: looks, curve: points }) {
	const longest = points.at(-1)?.[0] || 1
	const line = `M0 0${points.map(([age, share]) => `L${(WIDE * age) / longest} ${HIGH * (1 - share)}`).join("")}`
	const text = `Half end within ${span(half * 1000)}, 90 % within ${span(most * 1000)}: learned from `
		+ `${many(Math.round(sample), "end")}, at ${looks} looks each.`
	return figure(kind, text, ["all run", "none"], ["0 s", span(longest * 1000)], level(HIGH / 2),
		s("path", { class: "soft", d: `${line}V${HIGH}H0Z` }), s("path", { class: "line", d: line }))
}
