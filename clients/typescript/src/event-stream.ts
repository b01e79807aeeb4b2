/** One event of a stream, as the HTML standard reads them. Comments, which keep the connection alive, are no events. */
export interface ServerSentEvent {
  event: string;
  data: string;
}

/** Reads the events of a response's body as they come. Ends with the body. */
export async function* serverSentEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerSentEvent, void, undefined> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  let name = "message";
  let data: string[] = [];
  try {
    for (let done = false; !done; ) {
      const piece = await reader.read();
      done = piece.done;
      rest += decoder.decode(piece.value, { stream: !done });
      // A carriage return at the end may be the first half of a line's end.
      const held = !done && rest.endsWith("\r") ? 1 : 0;
      const lines = rest.slice(0, rest.length - held).split(/\r\n|\n|\r/);
      rest = (lines.pop() ?? "") + rest.slice(rest.length - held);
      for (const line of lines) {
        if (line === "") {
          if (data.length > 0) yield { event: name, data: data.join("\n") };
          name = "message";
          data = [];
          continue;
        }
        const colon = line.indexOf(":");
        const field = colon < 0 ? line : line.slice(0, colon);
        const content = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
        if (field === "event") name = content;
        if (field === "data") data.push(content);
      }
    }
  } finally {
    // Whoever stops listening stops the operation at the bank, too.
    await reader.cancel().catch(() => undefined);
  }
}
