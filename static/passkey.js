// Passkeys: what the browser does between a form and its sending. `data-passkey` of a form is "create" or "get"; the
// options are in a JSON script (`data-options`) or at the form's own address.

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("[data-passkey]");
  if (!form) return;
  event.preventDefault();
  const told = form.querySelector("[data-passkey-told]");
  told.hidden = true;
  try {
    const credential = await ceremony(form);
    form.elements.credential.value = JSON.stringify(credential.toJSON());
    form.submit();
  } catch (error) {
    told.querySelector("span").textContent = words(error);
    told.hidden = false;
  }
});

async function ceremony(form) {
  if (!window.PublicKeyCredential?.parseRequestOptionsFromJSON) throw new DOMException("", "NotSupportedError");
  const { publicKey } = await options(form);
  if (form.dataset.passkey === "get") {
    return navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(publicKey) });
  }
  const wanted = PublicKeyCredential.parseCreationOptionsFromJSON(publicKey);
  wanted.authenticatorSelection = { residentKey: "preferred", userVerification: "preferred" };
  return navigator.credentials.create({ publicKey: wanted });
}

async function options(form) {
  if (form.dataset.options) return JSON.parse(document.getElementById(form.dataset.options).textContent);
  const answer = await fetch(form.action, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error();
  return (await answer.json()).request_options;
}

function words(error) {
  switch (error.name) {
    case "NotAllowedError": return "It was stopped, took too long, or there is no passkey for this address. Try again.";
    case "InvalidStateError": return "This device has a passkey for you already.";
    case "NotSupportedError": return "This browser is too old for passkeys. Use an authenticator app.";
    case "SecurityError": return "Passkeys need a name in the address, not numbers, and a certificate that your browser trusts.";
    default: return "That did not work. Try again.";
  }
}
