// Speaking to the API: the key, calls, and the stream of events.

async function request(path, { headers, ...options }) {
	const { pass } = sessionStorage
	const bearer = pass && { Authorization: `Bearer ${pass}` }
	let answer, detail = "Dreamhook does not answer."
	try {
		answer = await fetch(path, { headers: { ...bearer, ...headers }, ...options })
		if (answer.ok) return answer;
		({ detail } = await answer.json())
	} catch { /* `detail` says it */ }
	throw Object.assign(new Error(detail), { status: answer?.status })
}

// Call the API, get its JSON; an error has the `status` it answered with.
export async function call(path, method = "GET", body) {
	return (await request(path, { method, body: JSON.stringify(body) })).json()
}

const STREAM = "/v1/events?type=generation,endpoint,delivery"
const SILENCE_MS = 40000; // a heartbeat comes every 15 s
const RETRY_MS = 2000

// Started again, it goes on after the last event it had. An EventSource could not send a key.
export function follow(hear, show) {
	let line, lastId

	async function run(mine) {
		while (line === mine) {
			await listen(mine).catch(() => {})
			if (line === mine) show("Reconnecting")
			await new Promise((done) => setTimeout(done, RETRY_MS))
		}
	}

	async function listen({ signal }) {
		const silence = new AbortController()
		let watchdog
		const watch = () => {
			clearTimeout(watchdog)
			watchdog = setTimeout(() => silence.abort(), SILENCE_MS)
		}
		watch()
		const { body } = await request(STREAM, {
			headers: lastId && { "Last-Event-ID": lastId },
			signal: AbortSignal.any([signal, silence.signal]),
		})
		const reader = body.pipeThrough(new TextDecoderStream()).getReader()
		for (let text = "", part; !(part = await reader.read()).done; watch()) {
			const blocks = (text + part.value).split("\n\n")
			text = blocks.pop()
			blocks.forEach(take)
		}
	}

	function take(block) {
		show("Live")
		lastId = block.match(/^id: (.+)$/m)?.[1] ?? lastId
		if (/^data:/m.test(block)) hear()
	}

	return (wanted) => {
		if (Boolean(line) === wanted) return
		line?.abort()
		line = wanted ? new AbortController() : null
		if (line) run(line)
	}
}
