// Package huggingface gets models from the HuggingFace hub, or a mirror of it. A Vendor may be used by many
// goroutines and starts none.
//
// # References
//
//	hf:org/repo                      the quantization chosen as below
//	hf:org/repo:Q4_K_M               that one; upper and lower case are the same, Q4 is the best of its kind
//	hf:org/repo/dir/file.gguf        that file; of a split model, any part
//	hf:org/repo/dir                  one of the files in that folder
//	...@revision                     behind each: a branch, tag, commit or refs/pr/3; main without it
//	org/repo, org/repo:Q4_K_M, org/repo/dir/file.gguf, with or without @revision: the same
//	https://huggingface.co/org/repo  as a browser shows it, also /tree/rev/dir, /blob/rev/file, /resolve/rev/file;
//	                                 the same on hf.co and on the host of HF_ENDPOINT, also without https://
//
// Behind the colon may also stand a file's name, with or without .gguf, for files whose name tells no
// quantization. "dir/file.gguf" with one slash is a file on this machine, not ours.
//
// # Which file, if the reference does not say
//
// A repository with one model has that one. Else the first of these that is there, from the list of files;
// nothing is ever tried by downloading:
//
//	Q4_K_M  Q4_K_S  Q4_0  IQ4_NL  IQ4_XS  Q4_1  Q5_K_M  Q5_K_S  Q4_K_XL  Q4_K_L  MXFP4  MXFP4_MOE  NVFP4
//	Q5_0  Q5_1  Q5_K_L  Q5_K_XL  Q3_K_L  Q3_K_XL  Q3_K_M  Q6_K  Q6_K_L  Q6_K_XL  Q8_0  Q8_K_XL  IQ3_M  Q3_K_S
//	IQ3_S  IQ3_XS  IQ3_XXS  Q2_K_L  Q2_K_XL  Q2_K  Q2_K_S  IQ2_M  IQ2_S  IQ2_XS  IQ2_XXS  IQ1_M  IQ1_S
//	TQ2_0  TQ1_0  F16  BF16  F32, then others by name
//
// UD-Q4_K_M and the like come right after the same without UD-. Of two files with one quantization the one in
// fewer folders is taken, then the one with the shorter name. Split models are one model; an incomplete one is not chosen.
// Projectors (mmproj) are listed and never chosen, nor are importance matrices (imatrix); adapters, draft models
// and vocabularies only if asked for or if there is nothing else.
//
// # Environment
//
// As in the hub's client for Python: HF_ENDPOINT, HF_TOKEN (or HUGGING_FACE_HUB_TOKEN), else the file HF_TOKEN_PATH,
// by default "token" in HF_HOME, by default ~/.cache/huggingface; HF_HUB_DISABLE_IMPLICIT_TOKEN=1 uses no token,
// HF_HUB_OFFLINE=1 (or TRANSFORMERS_OFFLINE) no network. The token goes to the endpoint's scheme, host and port
// and to no other.
//
// # The wire
//
// A file is asked for at /resolve/ without a Range: one sent there would be signed into the address of the CDN that it
// redirects to, which then refuses every other one. That address is kept, shared by all ranges of the file, and
// asked for anew once when the CDN refuses it, as it expires. The CDN's ETag says nothing about the file: the
// sha256 that the list of files has is its version.
package huggingface
