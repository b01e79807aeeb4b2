import type { Document } from "./document.js";
import { VostroError } from "./errors.js";

/** What the bank knows a registered document by: `sha256:` and the hash of its text, unless it has an id of its own. */
export async function idOf({ id, text }: Document<unknown, unknown>): Promise<string> {
  if (id !== undefined) return id;
  // The types promise it; browsers have it on pages that came over HTTPS only.
  const subtle = globalThis.crypto?.subtle as SubtleCrypto | undefined;
  if (!subtle) throw new VostroError("Without `crypto.subtle` no id can be made of a text: give the document its id.");
  const hash = new Uint8Array(await subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return `sha256:${Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/**
 * Texts by id, as `vostro documents import` takes them. Written as JSON it is the manifest of whoever sends these documents
 * by their ids.
 *
 * @throws {VostroError} when two texts have the same id.
 */
export async function manifestOf(documents: Iterable<Document<unknown, unknown>>): Promise<Record<string, string>> {
  const texts = new Map<string, string>();
  for (const document of documents) {
    const id = await idOf(document);
    if ((texts.get(id) ?? document.text) !== document.text) throw new VostroError(`Two documents have the id ${id}.`);
    texts.set(id, document.text);
  }
  return Object.fromEntries(texts);
}
