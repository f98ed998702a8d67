// The bytes of a gzip file. A server that names gzip as the encoding has the browser unpack it.
export async function unpacked(response) {
  const encoded = /gzip/.test(response.headers.get('content-encoding') ?? '');
  const body = encoded ? response.body : response.body.pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(body).arrayBuffer());
}
