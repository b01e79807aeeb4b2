/** What the bank's staff asks for, in addition to what customers do. */
export * from "./generated/staff.js";
