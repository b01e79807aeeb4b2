import { once } from "node:events";
import { type ClientRequest, type IncomingMessage, type RequestListener, createServer, request } from "node:http";
import { type AddressInfo, type Socket } from "node:net";

/** What a proxy does with the next request instead of passing it on. */
type Mischief = RequestListener;

/** Stands before the bank, cuts connections, and loses answers. */
export class Proxy {
  readonly requests: IncomingMessage[] = [];
  /** What the requests said that were answered with {@link answer}. */
  readonly bodies: string[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #mischief: Mischief[] = [];
  readonly #server = createServer((incoming, outgoing) => {
    this.requests.push(incoming);
    const mischief = this.#mischief.shift();
    if (mischief) return mischief(incoming, outgoing);
    const passed = this.#pass(incoming, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    // A reader that has gone ends the operation at the bank, also before that has answered.
    outgoing.on("close", () => passed.destroy());
  });

  private constructor(private readonly target: URL) {}

  static async before(target: string): Promise<Proxy> {
    const proxy = new Proxy(new URL(target));
    proxy.#server.on("connection", (socket) => {
      proxy.#sockets.add(socket);
      socket.on("close", () => proxy.#sockets.delete(socket));
    });
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}${this.target.pathname}`;
  }

  /** The next request reaches the bank, and its answer nobody. */
  loseAnswer(): void {
    this.#mischief.push((incoming) => {
      this.#pass(incoming, (answer) => answer.resume().on("end", () => incoming.socket.destroy()));
    });
  }

  /** The next request is answered with this. */
  answer(status: number, contentType: string, body: string): void {
    this.#mischief.push((incoming, outgoing) => {
      let said = "";
      incoming.setEncoding("utf8").on("data", (piece) => (said += piece));
      incoming.on("end", () => {
        this.bodies.push(said);
        outgoing.writeHead(status, { "content-type": contentType }).end(body);
      });
    });
  }

  /** Cuts every connection there is. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, "close");
  }

  #pass(incoming: IncomingMessage, answered: (answer: IncomingMessage) => void): ClientRequest {
    const { method, headers } = incoming;
    const passed = request(this.target, { method, headers: { ...headers, host: this.target.host } }, answered);
    passed.on("error", () => incoming.socket.destroy());
    incoming.pipe(passed);
    return passed;
  }
}
