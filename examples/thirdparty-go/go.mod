module example.org/dictionary

go 1.26.0

require github.com/plinthkv/plinth v0.0.0

replace github.com/plinthkv/plinth => ../..
