// The other implementation: reads one question as JSON on standard input, writes one answer.
// { passport, presentations{name: text}, issuer_jwk, holder_jwk, frame, audience, nonce, now }
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(pathToFileURL(process.env.PEER_MODULES + "/x.cjs"));
const load = (name) => import(pathToFileURL(require.resolve(name)));
const { SDJwtVcInstance } = await load("@sd-jwt/sd-jwt-vc");
const { digest, generateSalt, ES256 } = await load("@sd-jwt/crypto-nodejs");

let text = "";
for await (const piece of process.stdin) text += piece;
const asked = JSON.parse(text);

const instance = new SDJwtVcInstance({
  hasher: digest,
  hashAlg: "sha-256",
  saltGenerator: generateSalt,
  signAlg: "ES256",
  kbSignAlg: "ES256",
  verifier: await ES256.getVerifier(asked.issuer_jwk),
  kbSigner: await ES256.getSigner(asked.holder_jwk),
  kbVerifier: async (data, signature, payload) => (await ES256.getVerifier(payload.cnf.jwk))(data, signature),
});
// Status is another step of a verifier's, with a fetch of its own: everything else is verified.
instance.verifyStatus = async () => undefined;

const answer = { verified: {} };
for (const [name, presentation] of Object.entries(asked.presentations)) {
  try {
    const { payload } = await instance.verify(presentation, {
      currentDate: asked.now,
      keyBindingNonce: asked.nonce,
      requiredClaimKeys: ["vct", "cnf"],
    });
    answer.verified[name] = { payload };
  } catch (error) {
    answer.verified[name] = { error: String(error.message).slice(0, 200) };
  }
}
answer.presentation = await instance.present(asked.passport, asked.frame, {
  kb: { payload: { iat: asked.now, aud: asked.audience, nonce: asked.nonce } },
});
process.stdout.write(JSON.stringify(answer));
