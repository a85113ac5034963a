module github.com/rbee-project/rbee/gguf

go 1.26.0
