// A receiver of Dreamhook's webhooks, with Node 18 or newer and nothing else.
//
//     export WEBHOOK_SECRET="$(dreamhook secret)"
//     node receiver_node.mjs
//
// Then `http://127.0.0.1:9000/hooks/luma` is a `callback_url`, for a Dreamhook that was started with
// DREAMHOOK_ALLOW_PRIVATE=127.0.0.0/8. With `npm install standardwebhooks`, `verify` below is
// `new Webhook(secret).verify(body, headers)`.

import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const TOLERANCE_S = 300;
const MAX_BODY = 1 << 20;
const secret = process.env.WEBHOOK_SECRET;
if (!secret) {
  console.error('there is no secret to verify with: export WEBHOOK_SECRET="$(dreamhook secret)"');
  process.exit(1);
}
const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
const handled = new Set(); // use your database: a webhook may come twice, with the same webhook-id

// Standard Webhooks: base64 of HMAC-SHA256 of "id.timestamp.body", one signature for each secret.
function verify(body, headers) {
  const id = headers["webhook-id"] ?? "";
  const timestamp = headers["webhook-timestamp"] ?? "";
  if (!(Math.abs(Date.now() / 1000 - Number(timestamp || NaN)) <= TOLERANCE_S)) throw Error("stale");
  const signed = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body]);
  const ours = createHmac("sha256", key).update(signed).digest();
  for (const signature of (headers["webhook-signature"] ?? "").split(" ")) {
    const [version, text] = signature.split(",");
    const theirs = Buffer.from(text ?? "", "base64");
    if (version === "v1" && theirs.length === ours.length && timingSafeEqual(theirs, ours)) {
      return JSON.parse(body);
    }
  }
  throw Error("not genuine");
}

async function bodyOf(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    if ((size += chunk.length) > MAX_BODY) throw Error("too large");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function handle(event) {
  const { generation_id: name, metadata, assets, failure_reason, reason } = event.data;
  switch (event.type) {
    case "generation.completed":
      return console.log(`${name} of order ${metadata.order} is done:`, assets);
    case "generation.failed":
      return console.log(`${name} of order ${metadata.order} failed: ${failure_reason}`);
    case "generation.expired":
      return console.log(`${name} of order ${metadata.order} was given up: ${reason}`);
  }
}

const server = createServer(async (request, response) => {
  if (request.method !== "POST" || request.url !== "/hooks/luma") {
    return response.writeHead(404).end();
  }
  let event;
  try {
    event = verify(await bodyOf(request), request.headers);
  } catch (error) {
    return response.writeHead(400).end(error.message);
  }
  response.writeHead(204).end(); // at once: the work comes after that
  const id = request.headers["webhook-id"];
  if (!handled.has(id)) {
    handled.add(id);
    handle(event);
  }
});
server.listen(Number(process.env.PORT ?? 9000), "127.0.0.1", () => {
  console.log(`listening at http://127.0.0.1:${server.address().port}/hooks/luma`);
});
