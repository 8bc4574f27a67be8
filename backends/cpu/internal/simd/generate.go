package simd

//go:generate sh -c "cd gen && go run . rows512 -out ../rows512_amd64.s -pkg simd"
//go:generate sh -c "cd gen && go run . rows256 -out ../rows256_amd64.s -pkg simd"
//go:generate sh -c "cd gen && go run . pairs -out ../pairs_amd64.s -pkg simd"
//go:generate sh -c "cd gen && go run . dot -out ../dot_amd64.s -pkg simd"
//go:generate sh -c "cd gen && go run . codes512 -out ../codes512_amd64.s -pkg simd"
//go:generate sh -c "cd gen && go run . codes256 -out ../codes256_amd64.s -pkg simd"
//go:generate sh -c "cd gen && go run . loose -out ../loose512_amd64.s -pkg simd"
//go:generate sh -c "cd gen && go run . elem -out ../elem_amd64.s -stubs ../elem_amd64.go -pkg simd"
//go:generate sh -c "cd gen && go run . sampling -out ../sampling_amd64.s -stubs ../sampling_amd64.go -pkg simd"
//go:generate sh -c "cd gen && go run . tables ../tiles_amd64.go"
//go:generate sh -c "cd gen && go run . attend -out ../attend_amd64.s -pkg simd"
//go:generate sh -c "cd gen && go run . pagetables ../pages_amd64.go"
//go:generate go run ./genneon .
//go:generate sh -c "go test -run TestGenerated . -update"
