// The flows of docs/guide.md in TypeScript. Needs a bank and its staff: `scripts/with-bank.sh npm run guide`.
// --- imports
import {
  Client, FaultError, RefusedError, accepted, Document,
  AccountsDocument, BalanceChangedDocument, MeDocument, PayDocument, RegisterDocument, TransactionUpdatedDocument,
} from "@vostro/client";
import { AuditTrailDocument, RecordDepositDocument, VerifyAuditDocument } from "@vostro/client/staff";
// ---
import assert from "node:assert/strict";
import { setTimeout } from "node:timers/promises";

/** Plays all flows against the bank of the environment; `run` makes the people and keys of one run its own. */
export async function play(run: string): Promise<void> {
  const { VOSTRO_URL: url, VOSTRO_OPERATOR, VOSTRO_OFFICER, VOSTRO_STAFF_PASSWORD: staffPassword } = process.env;
  assert(url && VOSTRO_OPERATOR && VOSTRO_OFFICER && staffPassword, "run it with scripts/with-bank.sh");

  // --- register
  async function register(name: string): Promise<Client> {
    const email = `${name}-${run}@example.org`;
    const password = "a few uncommon words, pickled";
    const client = new Client({ url: url! });
    const input = { email, password, displayName: name, idempotencyKey: `register-${name}-${run}` };
    accepted((await client.request(RegisterDocument, { input })).userRegister); // throws RefusedError
    await client.logIn({ email, password }); // and renews its token from now on
    return client;
  }

  // The bank opens the first account soon after the registration.
  async function firstAccount(client: Client): Promise<string> {
    for (;;) {
      const { accounts } = await client.request(AccountsDocument, { first: 1 });
      const account = accounts?.nodes[0];
      if (account) return account.id;
      await setTimeout(200);
    }
  }

  const [ana, ben] = [await register("ana"), await register("ben")];
  const [from, to] = [await firstAccount(ana), await firstAccount(ben)];
  // ---

  // --- deposit
  const operator = new Client({ url });
  await operator.logIn({ email: VOSTRO_OPERATOR, password: staffPassword });
  const deposited = await operator.request(RecordDepositDocument, {
    input: {
      idempotencyKey: `deposit-${run}`,
      accountId: from,
      amount: { amount: "100.00", currency: "EUR" },
      waitFor: "COMPLETED",
    },
  });
  accepted(deposited.depositRecord);
  // ---

  // --- pay
  async function pay(amount: string) {
    const { transferCreate } = await ana.request(PayDocument, {
      input: {
        idempotencyKey: `rent-${run}`,
        sourceAccountId: from,
        destinationAccountId: to,
        amount: { amount, currency: "EUR" },
        reference: "Rent for May",
      },
    });
    return accepted(transferCreate);
  }

  const { transaction } = await pay("42.00");
  const again = await pay("42.00"); // the same command: the same payment, once
  assert(again.replayed && again.transaction?.id === transaction?.id);
  await assert.rejects(pay("43.00"), (error) => error instanceof RefusedError && error.code === "IDEMPOTENCY_KEY_REUSED");
  // ---

  // --- subscribe
  const updates = ana.subscribe(TransactionUpdatedDocument, { transactionId: transaction!.id });
  let status: string | undefined;
  for await (const { transactionUpdated: update } of updates) {
    status = update.transaction.status;
    console.log(`${update.sequence}: ${status}`);
  }
  assert.equal(status, "COMPLETED"); // a payment's stream ends with its outcome
  // ---

  // --- audit
  const officer = new Client({ url });
  await officer.logIn({ email: VOSTRO_OFFICER, password: staffPassword });
  async function trail() {
    for (;;) {
      const { auditTrail } = await officer.request(AuditTrailDocument, { aggregateId: transaction!.id });
      if (auditTrail?.some(({ type }) => type === "transaction.completed.v1")) return auditTrail;
      await setTimeout(200);
    }
  }

  for (const { position, type, hash } of await trail()) console.log(position, type, hash);
  const { auditVerification } = await officer.request(VerifyAuditDocument);
  assert(auditVerification?.ok);
  // ---

  // --- ids
  const byId = new Client({ url, tokens: ana.tokens!, documents: "id" });
  const { me } = await byId.request(MeDocument);
  assert.equal(me?.displayName, "ana");
  for await (const { balanceChanged } of byId.subscribe(BalanceChangedDocument, { accountId: from })) {
    assert.equal(balanceChanged.balance.posted.amount, "58.00");
    break;
  }

  const unknown = new Document<{ me: { id: string } | null }, Record<string, never>>("query", "Unknown", "query Unknown { me { id } }");
  const refused = (error: unknown) => error instanceof FaultError && error.code === "PERSISTED_DOCUMENT_NOT_FOUND";
  await assert.rejects(byId.request(unknown), refused);
  // ---
}
