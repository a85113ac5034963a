package engines

// pin is what one engine is on one system, exactly: a package whose content differs by a bit is refused.
type pin struct {
	engine  string // the engine's name
	release string // of llama.cpp, as the packages say in _nlcBuildMetadata.json
	goos    string
	goarch  string
	parts   []part // one package, or more that make an engine together
	lib     string // folder of the libraries, with slashes
	links   []link // made in there
}

// part is one npm package of an engine.
type part struct {
	pkg       string
	version   string // of the package
	integrity string // "sha512-" and base64, of the package's tgz
	into      string // folder that it is unpacked into; "": beside the manifest
}

// String is the package as npm wants it named.
func (p part) String() string { return p.pkg + "@" + p.version }

// link is a name under which a library is looked up, and the file that the packages have for it.
type link struct{ name, target string }

// linux, macOS and windows are the links that the system's packages need. Their libraries have the
// package's build ("", "cuda.") and llama.cpp's release in their names.
func linux(build string) []link {
	return []link{{"libllama.so", "libllama." + build + releaseLinux + ".so"}, {"libggml.so", "libggml." + build + releaseLinux + ".so"}}
}

func macOS(build string) []link {
	return []link{{"libllama.dylib", "libllama." + build + releaseOthers + ".dylib"}, {"libggml.dylib", "libggml." + build + releaseOthers + ".dylib"}}
}

func windows(build string) []link {
	return []link{{"llama.dll", "llama." + build + releaseOthers + ".dll"}, {"ggml.dll", "ggml." + build + releaseOthers + ".dll"}}
}

// releaseOthers is what macOS and Windows get: nothing newer is published for them. The worker's bindings
// are made for releaseLinux, and know of both the same structures and functions.
const (
	releaseLinux  = "v0.5.0"
	releaseOthers = "v0.4.0"
)

// npmPins lists every package that can be installed. A CUDA or Vulkan package has all of the CPU's
// libraries too. Those for linux/amd64 have run: the CPU's and Vulkan's, that one on a software device, have
// answered, CUDA's has computed on the CPU. All others were only fetched, checked and unpacked.
var npmPins = []pin{
	{
		engine: LlamaCpp, release: releaseLinux, goos: "linux", goarch: "amd64",
		parts: []part{
			{pkg: "@node-llama-cpp/linux-x64", version: "3.22.1", integrity: "sha512-5uCCDNqWCNfaAm8aR/Uzxbo4HBpKgNF91kCHPepKhgMgV2OAmatoefbOlMihsqCiH2Od35E/eUHQCFbfRBJuOg=="},
		},
		lib: "bins/linux-x64", links: linux(""),
	},
	{
		engine: LlamaCpp, release: releaseLinux, goos: "linux", goarch: "arm64",
		parts: []part{
			{pkg: "@node-llama-cpp/linux-arm64", version: "3.22.1", integrity: "sha512-W+7naKCXX9/eEjjFmRS8vvx91QyLXDbeFxexZc3bh/PtQABZgmRL3C0AtYYXn4YGTj/3Qor4lWZn2tpjZFPLdQ=="},
		},
		lib: "bins/linux-arm64", links: linux(""),
	},
	{
		engine: LlamaCppCUDA, release: releaseLinux, goos: "linux", goarch: "amd64",
		parts: []part{
			{pkg: "@node-llama-cpp/linux-x64-cuda", version: "3.22.1", integrity: "sha512-8rQCjyNNLZJUFit+YpjwlC4hwkKgOMIkB2wuycKBf8NU2O3ySKbiWZQ8aw9ku2nUTXjSnUIrE6KB88itduTBuA=="},
		},
		lib: "bins/linux-x64-cuda", links: linux("cuda."),
	},
	{
		engine: LlamaCppCUDA12, release: releaseLinux, goos: "linux", goarch: "amd64",
		parts: []part{
			{pkg: "@node-llama-cpp/linux-x64", version: "3.22.1", integrity: "sha512-5uCCDNqWCNfaAm8aR/Uzxbo4HBpKgNF91kCHPepKhgMgV2OAmatoefbOlMihsqCiH2Od35E/eUHQCFbfRBJuOg=="},
			{pkg: "@node-llama-cpp/linux-x64-cuda-ext", version: "3.22.1", integrity: "sha512-4e5ajkiM2aR2WAdB/N/ACk4weEhHvOAIrzxZPsIX0xDFW5+6hhShuy1/vs88SK9NGdgAco9IyE28eYS0H1efpA==", into: "cuda12"},
		},
		lib: "bins/linux-x64", links: append(linux(""), link{"libggml-cuda.so", "../../cuda12/bins/linux-x64-cuda/fallback/libggml-cuda.so"}),
	},
	{
		engine: LlamaCppVulkan, release: releaseLinux, goos: "linux", goarch: "amd64",
		parts: []part{
			{pkg: "@node-llama-cpp/linux-x64-vulkan", version: "3.22.1", integrity: "sha512-bBxqU+JOcBu1nb5Qj2zcMci+JByT1E8EajHvYodyNfVIPkEhXh+/HMwR1/BT7xP08YK0hks+kM8fglER0P8JEg=="},
		},
		lib: "bins/linux-x64-vulkan", links: linux("vulkan."),
	},
	{
		engine: LlamaCpp, release: releaseOthers, goos: "darwin", goarch: "arm64",
		parts: []part{
			{pkg: "@node-llama-cpp/mac-arm64-metal", version: "3.21.1", integrity: "sha512-6MIDAZV7DXD9R1+jEXWJkFuolni3GATGE6mmuyFYc6ZmtOh9djAy15df0T0AXK3sCmVKL+fQcOAWZezxx4MvQQ=="},
		},
		lib: "bins/mac-arm64-metal", links: macOS("metal."),
	},
	{
		engine: LlamaCpp, release: releaseOthers, goos: "darwin", goarch: "amd64",
		parts: []part{
			{pkg: "@node-llama-cpp/mac-x64", version: "3.21.1", integrity: "sha512-Q4nyNmbcNiKygBZQZjX+qLk2w3YzoiFpLWsxNURQN7xjyUi2p2rWxjRa7Otg0FrjGf/ri4aQ+X3Uj5Y0zD06eg=="},
		},
		lib: "bins/mac-x64", links: macOS(""),
	},
	{
		engine: LlamaCpp, release: releaseOthers, goos: "windows", goarch: "amd64",
		parts: []part{
			{pkg: "@node-llama-cpp/win-x64", version: "3.21.1", integrity: "sha512-JcIpCnra7bAd7JNWA8ehdn2DIRaTMuj+fBC8bw+5rKSNzszWFbuj2XA05c5QHovonDMBLN1ePXE/hcfZtzXoUQ=="},
		},
		lib: "bins/win-x64", links: windows(""),
	},
	{
		engine: LlamaCpp, release: releaseOthers, goos: "windows", goarch: "arm64",
		parts: []part{
			{pkg: "@node-llama-cpp/win-arm64", version: "3.21.1", integrity: "sha512-/UDR7Y0B8iKfc/tqxBmWkcgRdZQ9Wrkwod7fYl4J6iZXcTIj286RkHvZSED7VMY67TrcUXVvxJVMNFtmjeYnDg=="},
		},
		lib: "bins/win-arm64", links: windows(""),
	},
	{
		engine: LlamaCppCUDA, release: releaseOthers, goos: "windows", goarch: "amd64",
		parts: []part{
			{pkg: "@node-llama-cpp/win-x64-cuda", version: "3.21.1", integrity: "sha512-PLz70neFEMkQTlmJqG1ujUtCSgHasLPMxQ9rLkqQVmZYAXqkRj+45TIHCjdn3XqUeaoun0vrO9rRaxZ8NVq9jg=="},
		},
		lib: "bins/win-x64-cuda", links: windows("cuda."),
	},
	{
		engine: LlamaCppVulkan, release: releaseOthers, goos: "windows", goarch: "amd64",
		parts: []part{
			{pkg: "@node-llama-cpp/win-x64-vulkan", version: "3.21.1", integrity: "sha512-HJ237Azh5m4Sz+w3A1IU/fYLaSDOocskcfn2ILTgqTuuORCB86EMnu3Yt/XsNhRHTtEiwz1Q/E0mO4PLIbZLAA=="},
		},
		lib: "bins/win-x64-vulkan", links: windows("vulkan."),
	},
}
