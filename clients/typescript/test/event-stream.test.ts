import assert from "node:assert/strict";
import { test } from "node:test";
import { serverSentEvents, type ServerSentEvent } from "../src/event-stream.js";

/** The events of a body that comes in these pieces. */
async function events(pieces: (string | Uint8Array)[]): Promise<ServerSentEvent[]> {
  const bytes = pieces.map((piece) => (typeof piece === "string" ? new TextEncoder().encode(piece) : piece));
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const piece of bytes) controller.enqueue(piece);
      controller.close();
    },
  });
  const all: ServerSentEvent[] = [];
  for await (const event of serverSentEvents(body)) all.push(event);
  return all;
}

test("an event is the same however its bytes arrive", async () => {
  const text = "event: next\ndata: {\"a\": \"ä€\"}\n\n:\n\nevent: complete\ndata:\n\n";
  const whole = await events([text]);
  assert.deepEqual(whole, [{ event: "next", data: "{\"a\": \"ä€\"}" }, { event: "complete", data: "" }]);
  const bytes = new TextEncoder().encode(text);
  for (const size of [1, 2, 3, 7]) {
    const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) => bytes.slice(at * size, (at + 1) * size));
    assert.deepEqual(await events(pieces), whole, `pieces of ${size}`);
  }
});

test("lines end as the standard allows", async () => {
  const expected = [{ event: "next", data: "a\nb" }];
  for (const end of ["\n", "\r\n", "\r"]) {
    const text = ["event: next", "data: a", "data:b", "", ""].join(end);
    assert.deepEqual(await events([...text]), expected, JSON.stringify(end));
  }
});

test("an event that is not complete is none", async () => {
  assert.deepEqual(await events(["event: next\ndata: half"]), []);
});
