// Compiled with AssemblyScript 0.28.20: asc words.ts -o words.wasm -Oz --runtime stub --use abort=
// Counts the words of its input. Asked over HTTP (docs/compute.md) it answers as CGI has it.
@external("hearth", "input_size") declare function inputSize(): i64;
@external("hearth", "input_read") declare function inputRead(at: usize, length: i32, offset: i64): i32;
@external("hearth", "output_write") declare function outputWrite(at: usize, length: i32): i32;
@external("hearth", "log") declare function log(at: usize, length: i32): void;
@external("wasi_snapshot_preview1", "environ_sizes_get") declare function environSizes(count: usize, bytes: usize): i32;
@external("wasi_snapshot_preview1", "environ_get") declare function environ(at: usize, bytes: usize): i32;

// Whether a variable of this name is set.
function isSet(name: string): bool {
  const sizes = new StaticArray<u32>(2);
  environSizes(changetype<usize>(sizes), changetype<usize>(sizes) + 4);
  const at = new StaticArray<u32>(sizes[0]);
  const bytes = new Uint8Array(sizes[1]);
  environ(changetype<usize>(at), bytes.dataStart);
  for (let i = 0; i < at.length; i++) {
    if (String.UTF8.decodeUnsafe(at[i], name.length + 1, true) == name + "=") return true;
  }
  return false;
}

export function hearth_call(): i32 {
  const input = new Uint8Array(i32(inputSize()));
  inputRead(input.dataStart, input.length, 0);
  let words = 0;
  let inside = false;
  for (let i = 0; i < input.length; i++) {
    const space = input[i] <= 32;
    if (!space && !inside) words++;
    inside = !space;
  }
  const http = isSet("REQUEST_METHOD");
  const text = String.UTF8.encode((http ? "Content-Type: text/plain\n\n" : "") + words.toString() + " words\n");
  outputWrite(changetype<usize>(text), text.byteLength);
  const said = String.UTF8.encode(input.length.toString() + " bytes read\n");
  log(changetype<usize>(said), said.byteLength);
  return words > 0 || http ? 0 : 1;
}
