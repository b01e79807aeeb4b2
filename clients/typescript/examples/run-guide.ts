import { play } from "./guide.js";

await play(`ts-${Date.now()}`);
