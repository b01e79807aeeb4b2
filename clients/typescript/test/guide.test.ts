import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { play } from "../examples/guide.js";

test("the flows of the guide work in TypeScript", async () => {
  await play(randomUUID().slice(0, 8));
});
