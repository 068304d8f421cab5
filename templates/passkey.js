"use strict";
// What the pages that use passkeys do: they ask for a challenge, hand it to the browser, and post what the authenticator said as
// a form. Everything else on those pages works without this script. It makes no markup: texts are those of the page.
(() => {
  // A challenge works for five minutes; one that only waits in a menu is replaced before that.
  const WAITS = 4 * 60 * 1000;

  let waiting = null;

  const decode = (text) => {
    const binary = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
    return Uint8Array.from(binary, (letter) => letter.charCodeAt(0));
  };

  const encode = (buffer) => {
    const letters = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte));
    return btoa(letters.join("")).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  };

  // parseCreationOptionsFromJSON and toJSON are not in every browser that has passkeys, and password managers that stand in for
  // the browser often lack them.
  const descriptors = (list) => (list || []).map((one) => ({ ...one, id: decode(one.id) }));

  const toOptions = (publicKey) => {
    const options = { ...publicKey, challenge: decode(publicKey.challenge) };
    if (publicKey.user) options.user = { ...publicKey.user, id: decode(publicKey.user.id) };
    if (publicKey.allowCredentials) options.allowCredentials = descriptors(publicKey.allowCredentials);
    if (publicKey.excludeCredentials) options.excludeCredentials = descriptors(publicKey.excludeCredentials);
    return options;
  };

  const toJson = (credential) => {
    const said = credential.response;
    const response = { clientDataJSON: encode(said.clientDataJSON) };
    for (const name of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
      if (said[name]) response[name] = encode(said[name]);
    }
    if (said.getTransports) response.transports = said.getTransports();
    const results = credential.getClientExtensionResults();
    return JSON.stringify({
      id: credential.id,
      rawId: encode(credential.rawId),
      type: credential.type,
      response,
      clientExtensionResults: results.credProps ? { credProps: { rk: results.credProps.rk } } : {},
    });
  };

  const say = (form, text) => {
    const place = form.querySelector("[data-problem]");
    place.textContent = text;
    place.hidden = text === "";
  };

  const begin = async (form) => {
    const response = await fetch(form.getAttribute("action"), {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json" },
      body: form.dataset.ask,
    });
    if (!response.ok) throw new DOMException("no challenge", "TimeoutError");
    return response.json();
  };

  const finish = (form, begun, credential) => {
    form.elements.namedItem("credential").value = toJson(credential);
    form.elements.namedItem(begun.enrolment ? "enrolment" : "ceremony").value =
      begun.enrolment || begun.ceremony;
    // Not form.submit, which a field could be called.
    HTMLFormElement.prototype.submit.call(form);
  };

  const use = async (form) => {
    if (waiting) waiting.abort();
    say(form, "");
    try {
      const begun = await begin(form);
      const publicKey = toOptions(begun.publicKey);
      const credential = await (begun.enrolment
        ? navigator.credentials.create({ publicKey })
        : navigator.credentials.get({ publicKey }));
      finish(form, begun, credential);
    } catch (error) {
      const texts = form.dataset;
      if (error.name === "TimeoutError") say(form, texts.late);
      else if (error.name === "InvalidStateError") say(form, texts.known || texts.failed);
      else say(form, texts.failed);
    }
  };

  // Offers passkeys where the browser fills in names, for as long as the page is open.
  const offer = async (form) => {
    const is = PublicKeyCredential.isConditionalMediationAvailable;
    if (!is || !(await is.call(PublicKeyCredential))) return;
    for (;;) {
      const mine = new AbortController();
      waiting = mine;
      let is_over = false;
      const timer = setTimeout(() => {
        is_over = true;
        mine.abort();
      }, WAITS);
      try {
        const begun = await begin(form);
        const publicKey = toOptions(begun.publicKey);
        const credential = await navigator.credentials.get({
          publicKey,
          mediation: "conditional",
          signal: mine.signal,
        });
        finish(form, begun, credential);
        return;
      } catch {
        if (!is_over) return;
      } finally {
        clearTimeout(timer);
      }
    }
  };

  if (!window.PublicKeyCredential || !navigator.credentials) return;
  for (const form of document.querySelectorAll("form[data-ask]")) {
    form.hidden = false;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      use(form);
    });
    if (form.dataset.offer !== undefined) offer(form);
  }
})();
