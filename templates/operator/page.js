"use strict";
// The operator's page. Texts from the gateway become text nodes, never markup.

const csrf = document.querySelector("meta[name=csrf]").content;
const STATE = 3000; // milliseconds between two looks
const UPSTREAMS = 10000;
const byId = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "on") made.addEventListener("click", value);
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function drawn(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

class Refused extends Error {}

async function ask(path, body) {
  const change = body === undefined ? {} : {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf },
    body: JSON.stringify(body),
  };
  const answer = await fetch(path, { credentials: "same-origin", cache: "no-store", ...change });
  if (answer.status === 401) {
    // The page's session is over: the form asks for the token.
    location.reload();
    throw new Refused("Signed out.");
  }
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(said.detail || `The gateway answered ${answer.status}.`);
  return said;
}

function alertWith(text) {
  const alert = byId("alert");
  alert.textContent = text;
  alert.hidden = !text;
}

const time = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const dayAndTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** The time of day alone, if it is of today. */
function at(text) {
  const moment = new Date(text);
  return (moment.toDateString() === new Date().toDateString() ? time : dayAndTime).format(moment);
}

const facts = (...all) => all.filter(Boolean).join(" · ");

/** Puts these elements into a list, and leaves alone what stands there under the same key. */
function fill(list, items, key, make) {
  const old = new Map([...list.children].map((child) => [child.dataset.key, child]));
  const next = items.map((item) => {
    const name = key(item);
    const made = old.get(name) || make(item);
    made.dataset.key = name;
    return made;
  });
  const same = next.length === list.children.length && next.every((child, n) => child === list.children[n]);
  if (!same) list.replaceChildren(...next);
}

// --- Asking before something is done -----------------------------------------------------------

let onYes = null;
byId("ask").addEventListener("close", async () => {
  const dialog = byId("ask");
  const act = onYes;
  onYes = null;
  if (dialog.returnValue !== "yes" || !act) return;
  try {
    alertWith("");
    await act({
      subject: byId("ask-subject").value,
      seconds: Number(byId("ask-time").value),
      reason: byId("ask-reason").value,
    });
  } catch (error) {
    alertWith(error.message);
  }
  refresh();
});

function confirmThat(title, text, yes, act, subjects = null) {
  byId("ask-title").textContent = title;
  byId("ask-text").textContent = text;
  byId("ask-yes").textContent = yes;
  byId("ask-yes").className = subjects ? "" : "strong";
  byId("ask-fields").hidden = !subjects;
  byId("ask-subject").replaceChildren(
    ...(subjects || []).map(([value, label]) => element("option", { value }, label)),
  );
  byId("ask-reason").value = "";
  onYes = act;
  const dialog = byId("ask");
  dialog.returnValue = "";
  dialog.showModal();
}

const button = (text, kind, act, label) =>
  element("button", { type: "button", class: kind, "aria-label": label || text, on: act }, text);

function endSession(session, name) {
  confirmThat("End this session?", `${name} has to sign in again on that device. What is open is cut.`, "End it", async () => {
    await ask("/sessions/end", { session });
    await sessions(false);
  });
}

// --- Rates --------------------------------------------------------------------------------------

const RATES = [
  ["requests", "Requests", "/s", false],
  ["refused", "Refused", "/s", true],
  ["sign_ins", "Sign-ins", "/min", false],
  ["failed_sign_ins", "Failed sign-ins", "/min", true],
  ["refreshes", "Refreshes", "/min", false],
  ["findings", "Findings", "/h", true],
];

function plot(values) {
  const width = 240, height = 40;
  const most = Math.max(1, ...values);
  const x = (n) => ((width * (n + 240 - values.length)) / 239).toFixed(1);
  const y = (value) => (height - 1 - ((height - 3) * value) / most).toFixed(1);
  const points = values.map((value, n) => `${x(n)},${y(value)}`);
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  if (points.length > 1) {
    const closed = [`${x(0)},${height}`, ...points, `${x(values.length - 1)},${height}`];
    svg.append(drawn("polygon", { class: "plot-area", points: closed.join(" ") }));
    svg.append(drawn("polyline", { class: "plot-line", points: points.join(" ") }));
  }
  return svg;
}

function rates(told) {
  const step = told.step_seconds;
  byId("rates").replaceChildren(...RATES.map(([key, name, unit, isBad]) => {
    const values = told[key];
    const recent = values.slice(unit === "/h" ? -240 : -4);
    const sum = recent.reduce((a, b) => a + b, 0);
    const per = { "/s": 1, "/min": 60, "/h": 3600 }[unit];
    const rate = unit === "/h" ? sum : recent.length ? (sum * per) / (recent.length * step) : 0;
    const shown = rate >= 100 || Number.isInteger(rate) ? Math.round(rate) : rate.toFixed(1);
    return element("li", { class: isBad ? "bad" : "" },
      element("span", { class: "name" }, name),
      element("span", { class: "number" }, `${shown} `, element("span", { class: "unit" }, unit)),
      plot(values));
  }));
}

// --- Findings -----------------------------------------------------------------------------------

const STRONG = new Set(["end_session", "end_user_sessions", "block_address", "step_up", "failed"]);
const words = (name) => name.replaceAll("_", " ");
let newest = [];
let older = [];

function finding(found) {
  const about = found.kind === "session" ? found.user || found.subject : found.subject;
  const acts = element("div", { class: "acts" });
  const name = found.user || "The user";
  if (found.session) {
    acts.append(button("End session", "plain", () => endSession(found.session, name), `End the session of ${about}`));
  }
  if (found.client) {
    acts.append(button("Block", "plain", () => confirmThat(
      `Block ${found.client}?`, "For an hour, nobody at this address gets anything from the gateway but a refusal.", "Block it",
      () => ask("/blocks", { address: found.client, seconds: 3600, reason: found.detector }),
    ), `Block ${found.client}`));
  }
  const subjects = [];
  if (found.user) subjects.push([`user ${found.user}`, `the user ${found.user}`]);
  if (found.kind === "address" || found.kind === "network") subjects.push([`address ${found.subject}`, `the ${found.kind} ${found.subject}`]);
  else if (found.client) subjects.push([`address ${found.client}`, `the address ${found.client}`]);
  if (subjects.length) {
    acts.append(button("Silence", "plain", () => confirmThat(
      `Silence ${words(found.detector)}?`, "It goes on to count what it finds about them, and does nothing about it.", "Silence it",
      ({ subject, seconds, reason }) => {
        const [kind, ...rest] = subject.split(" ");
        return ask("/silences", { detector: found.detector, [kind]: rest.join(" "), seconds, reason });
      }, subjects,
    ), `Silence ${words(found.detector)} about ${about}`));
  }
  return element("li", {},
    element("div", {},
      element("span", { class: "what" }, `${words(found.detector)}: ${about}`),
      ...found.actions.map((action) => element("span", { class: STRONG.has(action) ? "tag strong" : "tag" }, words(action))),
      element("p", { class: "facts" }, facts(
        at(found.at), found.client, found.countries.join(", "),
        `${found.count} within ${found.window_seconds} s`, found.agent))),
    acts);
}

function findings() {
  const first = newest.length ? newest[newest.length - 1].number : 0;
  const all = [...newest, ...older.filter((found) => found.number < first)];
  fill(byId("findings-list"), all, (found) => String(found.number), finding);
  byId("findings-empty").hidden = all.length > 0;
  const last = all[all.length - 1];
  byId("findings-more").hidden = !last || last.number <= 1 || byId("findings-more").dataset.done === String(last.number);
}

byId("findings-more").addEventListener("click", async () => {
  const shown = byId("findings-list").lastElementChild;
  const told = await ask(`/findings?limit=50&before=${shown.dataset.key}`);
  older = [...older, ...told.findings];
  if (!told.findings.length) byId("findings-more").dataset.done = shown.dataset.key;
  findings();
});

// --- Blocks and silences --------------------------------------------------------------------------

function block(held) {
  return element("li", {},
    element("div", {},
      element("span", { class: "what" }, held.subject),
      element("span", { class: "tag" }, held.kind),
      element("span", { class: "tag" }, words(held.demand)),
      element("p", { class: "facts" }, facts(`until ${at(held.until)}`, `by ${held.by}`, held.reason))),
    element("div", { class: "acts" }, button("Lift", "plain", () => confirmThat(
      `Lift the block of ${held.subject}?`, "The next request is decided as if there had been none.", "Lift it",
      () => ask("/blocks/lift", { [held.kind]: held.subject })), `Lift the block of ${held.subject}`)));
}

function silence(held) {
  return element("li", {},
    element("div", {},
      element("span", { class: "what" }, `${words(held.detector)}: ${held.subject}`),
      element("span", { class: "tag" }, held.kind),
      element("p", { class: "facts" }, facts(`until ${at(held.until)}`, held.reason))),
    element("div", { class: "acts" }, button("Lift", "plain", () => confirmThat(
      `Let ${words(held.detector)} speak again?`, `About ${held.subject}, at once.`, "Lift it",
      () => ask("/silences/lift", { detector: held.detector, [held.kind]: held.subject })), `Lift the silence about ${held.subject}`)));
}

// --- Sessions ---------------------------------------------------------------------------------------

let cursor = null;

function bar(label, number, most) {
  const svg = drawn("svg", { viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" });
  svg.append(drawn("rect", { width: String(Math.max(1, (100 * number) / most)), height: "8", rx: "2" }));
  return element("li", {}, label, svg, element("span", { class: "number" }, String(number)));
}

const names = typeof Intl.DisplayNames === "function" ? new Intl.DisplayNames(undefined, { type: "region" }) : null;

function country(code) {
  try {
    return names ? names.of(code) : code;
  } catch {
    return code;
  }
}

function summary(told) {
  byId("sessions-count").textContent = `${told.sessions} of ${told.users} ${told.users === 1 ? "user" : "users"}`;
  const places = told.by_country.map((one) => [country(one.country), one.sessions]);
  if (told.other_countries) places.push(["Other countries", told.other_countries]);
  if (told.unknown_country) places.push(["Unknown", told.unknown_country]);
  const mostHere = Math.max(1, ...places.map(([, count]) => count));
  byId("countries").replaceChildren(...places.map(([name, count]) =>
    bar(element("span", { class: "label" }, name), count, mostHere)));
  const mostTheirs = Math.max(1, ...told.by_user.map((one) => one.sessions));
  if (byId("users").contains(document.activeElement)) return;
  byId("users").replaceChildren(...told.by_user.map((one) => {
    const show = () => {
      byId("filter-user").value = one.user;
      sessions(false);
    };
    const label = `${one.name} (${one.user})`;
    return bar(element("button", { type: "button", class: "label", on: show }, label), one.sessions, mostTheirs);
  }));
}

function session(one) {
  return element("li", {},
    element("div", {},
      element("span", { class: "what" }, one.name),
      element("span", { class: "tag" }, one.user),
      one.country ? element("span", { class: "tag" }, country(one.country)) : null,
      element("p", { class: "facts" }, facts(`since ${at(one.signed_in_at)}`, `used ${at(one.last_used)}`, one.client, one.agent))),
    element("div", { class: "acts" },
      button("End", "plain", () => endSession(one.session, one.name), `End this session of ${one.name}`)));
}

async function sessions(more) {
  const query = new URLSearchParams({ limit: "25" });
  const user = byId("filter-user").value.trim();
  if (user) query.set("user", user);
  if (more && cursor) query.set("cursor", cursor);
  const told = await ask(`/sessions?${query}`);
  const list = byId("sessions-list");
  const made = told.sessions.map(session);
  if (more) list.append(...made);
  else list.replaceChildren(...made);
  cursor = told.next;
  byId("sessions-more").hidden = !cursor;
}

const orTell = (work) => work().catch((error) => alertWith(error.message));
byId("sessions-more").addEventListener("click", () => orTell(() => sessions(true)));
byId("filter").addEventListener("submit", (event) => {
  event.preventDefault();
  alertWith("");
  orTell(() => sessions(false));
});

// --- A user -----------------------------------------------------------------------------------------

let person = null;

/** `DIRECTORY/ID` of whoever is called so. */
async function userCalled(named) {
  if (named.includes("/")) return named;
  const told = await ask(`/users?${new URLSearchParams({ name: named })}`);
  const all = told.users.map((one) => one.user);
  if (all.length === 1) return all[0];
  throw new Refused(all.length ? `Several are called ${named}: ${all.join(", ")}. Name one of them.` : `Nobody is called ${named}.`);
}

const FACTORS = { totp: "authenticator app" };

function factor(one) {
  return element("li", {},
    element("div", {},
      element("span", { class: "what" }, one.name),
      element("span", { class: "tag" }, FACTORS[one.kind] || words(one.kind)),
      element("p", { class: "facts" }, facts(`since ${at(one.created_at)}`, one.last_used ? `used ${at(one.last_used)}` : "never used"))));
}

function personalToken(one) {
  return element("li", {},
    element("div", {},
      element("span", { class: "what" }, one.name),
      ...(one.routes.length ? one.routes : ["all routes"]).map((name) => element("span", { class: "tag" }, name)),
      ...(one.methods.length ? one.methods : ["all methods"]).map((name) => element("span", { class: "tag" }, name)),
      element("p", { class: "facts" }, facts(
        `since ${at(one.created_at)}`, one.last_used ? `used ${at(one.last_used)}` : "never used",
        `until ${at(one.expires_at)}`, one.id))),
    element("div", { class: "acts" }, button("Revoke", "plain", () => confirmThat(
      `Revoke ${one.name}?`, "The next request with it is refused.", "Revoke it",
      () => changePerson("/tokens/revoke", { token: one.id })), `Revoke ${one.name}`)));
}

async function showPerson() {
  const query = new URLSearchParams({ user: person });
  const [factors, tokens] = await Promise.all([ask(`/second-factors?${query}`), ask(`/tokens?${query}`)]);
  byId("person-shown").hidden = false;
  byId("person-who").textContent = person;
  const left = factors.recovery_codes_left;
  byId("factors-state").textContent = factors.factors.length
    ? `${left} recovery ${left === 1 ? "code" : "codes"} left.`
    : factors.reset_at ? `None since the reset ${at(factors.reset_at)}; one is set up at the next sign-in.` : "None.";
  byId("factors-list").replaceChildren(...factors.factors.map(factor));
  byId("tokens-list").replaceChildren(...tokens.tokens.map(personalToken));
  byId("tokens-empty").hidden = tokens.tokens.length > 0;
  byId("tokens-revoke").hidden = tokens.tokens.length < 2;
}

async function changePerson(path, body) {
  const told = await ask(path, body);
  const notice = byId("person-invitation");
  notice.hidden = !told.invitation;
  notice.textContent = told.invitation
    ? `The code for ${person}, once within ${Math.round(told.works_for_seconds / 3600)} hours, not shown again: ${told.invitation}` : "";
  await showPerson();
  if (told.sessions_ended) await sessions(false);
}

byId("person").addEventListener("submit", (event) => {
  event.preventDefault();
  alertWith("");
  byId("person-shown").hidden = true;
  byId("person-invitation").hidden = true;
  orTell(async () => {
    person = await userCalled(byId("person-user").value.trim());
    await showPerson();
  });
});
byId("factors-invite").addEventListener("click", () => confirmThat(
  `Invite ${person}?`, "You get a code with which they set up a second factor in a browser that is not known. Give it to them alone.", "Make a code",
  () => changePerson("/second-factors/invite", { user: person })));
byId("factors-reset").addEventListener("click", () => confirmThat(
  `Reset the second factors of ${person}?`,
  "All of them and the recovery codes go, and every session ends. They set up another one at the next sign-in, with a code that you get. Make sure that it is them.",
  "Reset them", () => changePerson("/second-factors/reset", { user: person })));
byId("tokens-revoke").addEventListener("click", () => confirmThat(
  `Revoke all tokens of ${person}?`, "The next request with any of them is refused.", "Revoke them",
  () => changePerson("/tokens/revoke", { user: person })));

// --- Upstreams ----------------------------------------------------------------------------------------

async function upstreams() {
  const told = await ask("/upstreams");
  const servers = told.upstreams.flatMap((pool) =>
    pool.servers.map((server) => ({ upstream: pool.name, ...server })));
  byId("upstreams-list").replaceChildren(...servers.map((server) => {
    const addresses = server.addresses;
    const states = addresses.map((one) => one.state);
    const underWay = addresses.reduce((sum, one) => sum + one.in_flight, 0);
    return element("li", {},
      element("div", {},
        element("span", { class: "what" }, `${server.upstream}: ${server.name}`),
        ...[...new Set(states)].map((state) =>
          element("span", { class: state === "in_service" ? "tag" : "tag strong" }, words(state))),
        element("p", { class: "facts" }, facts(
          `${addresses.length} ${addresses.length === 1 ? "address" : "addresses"}`,
          `${underWay} under way`))));
  }));
}

// --- All of it -------------------------------------------------------------------------------------------

let isAsking = false;

async function refresh() {
  if (isAsking) return;
  isAsking = true;
  try {
    const told = await ask("/operator/state");
    rates(told.rates);
    newest = told.findings;
    findings();
    fill(byId("blocks-list"), told.blocks, (one) => `${one.kind} ${one.subject} ${one.until}`, block);
    byId("blocks-empty").hidden = told.blocks.length > 0;
    byId("blocks-count").textContent = told.blocked > told.blocks.length ? `${told.blocks.length} of ${told.blocked}` : String(told.blocked);
    fill(byId("silences-list"), told.silences, (one) => `${one.detector} ${one.subject} ${one.until}`, silence);
    byId("silences-empty").hidden = told.silences.length > 0;
    summary(told.sessions);
    byId("state").textContent = `As of ${at(told.now)}`;
  } catch (error) {
    byId("state").textContent = `No answer: ${error.message}`;
  } finally {
    isAsking = false;
  }
}

async function begin() {
  await refresh();
  await orTell(() => sessions(false));
  await orTell(upstreams);
  setInterval(() => document.hidden || refresh(), STATE);
  setInterval(() => document.hidden || orTell(upstreams), UPSTREAMS);
}

begin();
