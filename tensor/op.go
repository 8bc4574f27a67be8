package tensor

// Op is an operation of the graph. There are few and they are coarse: each is one launch on a GPU, or one for each
// weight format where a Linear's weights differ.
type Op uint8

// The operations; each is documented with the Graph method of its name.
const (
	OpPrepare Op = iota
	OpEmbed
	OpAddRMSNorm
	OpLinear
	OpQKNormRopeStore
	OpAttention
	OpLinearSwiGLU
	OpSwiGLU
	OpKeepRows
	OpTakeRows
	OpSample
	NumOps
)

var opNames = [NumOps]string{"Prepare", "Embed", "AddRMSNorm", "Linear", "QKNormRopeStore", "Attention", "LinearSwiGLU",
	"SwiGLU", "KeepRows", "TakeRows", "Sample"}

// String is the operation's name.
func (o Op) String() string { return opNames[o] }

// Writes lists the states among n.In that the operation changes; it reads all of n.In, and writes all of n.Out.
func (n *Node) Writes() []Value {
	switch n.Op {
	case OpPrepare:
		return n.In[1:2] // slots
	case OpQKNormRopeStore:
		return n.In[5:7] // keys and values
	case OpKeepRows:
		return n.In[4:5] // the hidden rows
	case OpSample:
		return n.In[2:3] // slots
	}
	return nil
}
