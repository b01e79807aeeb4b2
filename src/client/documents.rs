//! The operations the demo, the benchmark and the journeys run, as a banking client would write them.

pub const REGISTER: &str = "mutation Register($input: UserRegisterInput!) {
  userRegister(input: $input) { user { id displayName } userErrors { code message field } } }";

pub const LOGIN: &str = "mutation Login($input: LoginInput!) {
  login(input: $input) { tokens { accessToken refreshToken expiresAt } user { id roles } userErrors { code message } } }";

pub const MY_ACCOUNTS: &str = "query MyAccounts($first: Int) {
  accounts(first: $first) { nodes { id number currency status balance { posted { amount } available { amount } sequence } } } }";

pub const ACCOUNTS_OF: &str = "query AccountsOf($owner: ID!) {
  accounts(first: 10, filter: {ownerId: $owner}) { nodes { id number currency status } } }";

pub const INTERNAL_ACCOUNTS: &str = "query InternalAccounts { internalAccounts { id number currency } }";

pub const TRANSFER: &str = "mutation Transfer($input: TransferCreateInput!) {
  transferCreate(input: $input) { transaction { id status failureCode } replayed userErrors { code message field } } }";

pub const DEPOSIT: &str = "mutation Deposit($input: DepositRecordInput!) {
  depositRecord(input: $input) { transaction { id status failureCode } replayed userErrors { code message field } } }";

pub const WITHDRAW: &str = "mutation Withdraw($input: WithdrawalInitiateInput!) {
  withdrawalInitiate(input: $input) { transaction { id status failureCode } replayed userErrors { code message field } } }";

pub const ARRANGE_OVERDRAFT: &str = "mutation ArrangeOverdraft($input: OverdraftArrangeInput!) {
  overdraftArrange(input: $input) { account { id } userErrors { code message field } } }";

pub const FREEZE: &str = "mutation Freeze($input: AccountFreezeInput!) {
  accountFreeze(input: $input) { account { id status } userErrors { code message field } } }";

pub const ENTRIES: &str = "query Entries($account: ID!, $first: Int!, $after: String) {
  account(id: $account) { id entries(first: $first, after: $after) {
    nodes { sequence transactionId direction amount { amount } balanceAfter { amount } }
    pageInfo { hasNextPage endCursor } } } }";

pub const MY_NOTIFICATIONS: &str = "query MyNotifications { unreadCount
  notifications(first: 20) { nodes { id topic channel title body } } }";

pub const AUDIT: &str = "query Audit { eventCounts { type count }
  auditVerification { ok checked firstBrokenPosition reason headPosition headHash }
  eventGaps { aggregateId } }";

pub const TRIAL_BALANCE: &str =
    "query TrialBalance { trialBalance { currency debit { amount } credit { amount } balanced } }";

pub const EVENT_COUNTS: &str = "query EventCounts { eventCounts { type count } }";

pub const ALL_ACCOUNTS: &str = "query AllAccounts($after: String) {
  accounts(first: 100, after: $after) { nodes { id owner { id } } pageInfo { hasNextPage endCursor } } }";

pub const OPEN_ACCOUNT: &str = "mutation OpenAccount($input: AccountOpenInput!) {
  accountOpen(input: $input) { account { id } userErrors { code message field } } }";
