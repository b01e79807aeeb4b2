export {
  Client, type Arguments, type ClientOptions, type RequestOptions, type SocketOperation, type SubscribeOptions,
} from "./client.js";
export { Document, type ResultOf, type VariablesOf } from "./document.js";
export { ConnectionError, FaultError, RefusedError, VostroError, accepted, type Fault, type UserError } from "./errors.js";
export { idOf, manifestOf } from "./manifest.js";
export type { Tokens } from "./session.js";
export * from "./generated/customer.js";
